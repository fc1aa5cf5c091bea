"""The cache is cleared only where nobody uses it; the timing lock is one for the machine."""

import os
import shutil
import stat
import tempfile

import filelock
import pytest

from firsthand.errors import InputError, OutputError
from firsthand.launch.cache import cache_entries, clear_cache, locked, machine_lock


@pytest.fixture
def cache(tmp_path, monkeypatch):
    root = tmp_path / "cache"
    monkeypatch.setenv("FIRSTHAND_CACHE", str(root))
    for name in ("one", "two"):
        (root / name / "deep").mkdir(parents=True)
        (root / name / "deep" / "file").write_bytes(b"x" * 100)
    return root


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_one_timing_lock_whatever_the_cache(temporary, tmp_path, monkeypatch):
    path = temporary / "firsthand-timing.lock"
    for cache in ("a", "b"):
        monkeypatch.setenv("FIRSTHAND_CACHE", str(tmp_path / cache))
        with machine_lock(), pytest.raises(filelock.Timeout):
            filelock.FileLock(str(path), timeout=0).acquire()
    with filelock.FileLock(str(path), timeout=0):
        pass  # given back


def test_other_users_can_take_the_timing_lock(temporary):
    before = os.umask(0o077)
    try:
        with machine_lock():
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((temporary / "firsthand-timing.lock").stat().st_mode) == 0o666


def test_a_timing_lock_that_cannot_be_taken_is_said(temporary):
    (temporary / "firsthand-timing.lock").mkdir()
    with pytest.raises(OutputError, match=r"firsthand-timing\.lock"), machine_lock():
        pass


def test_an_error_under_the_timing_lock_is_itself(temporary):
    with pytest.raises(PermissionError, match="mine"), machine_lock():
        raise PermissionError("mine")


@pytest.mark.parametrize("inside", ["two/deep/file", "two"])
def test_what_somebody_holds_is_not_cleared(cache, inside):
    with locked(cache / inside):
        with pytest.raises(InputError, match="in use"):
            clear_cache()
        assert {entry.name for entry in cache_entries()} == {"one", "two"}  # nothing went
        with pytest.raises(InputError, match="in use"):
            clear_cache("two")
        clear_cache("one")
    assert clear_cache() == 100  # the lock file stays where it was, and nobody holds it
    assert cache_entries() == ()


def test_deleting_that_fails_is_said(cache, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", refused)
    with pytest.raises(OutputError, match=r"cache/one: Permission denied"):
        clear_cache("one")
