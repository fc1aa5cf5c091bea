"""Every test here has a cache of its own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("FIRSTHAND_CACHE", str(folder))
    return folder


@pytest.fixture
def memory():
    """The URL of an empty folder in fsspec's memory, a stand-in for an object store."""
    import fsspec

    system = fsspec.filesystem("memory")
    store = system.store
    store.clear()
    system.pseudo_dirs[:] = [""]
    yield "memory://bucket"
    store.clear()
    system.pseudo_dirs[:] = [""]
