"""Fixtures that tests of several packages share."""

from __future__ import annotations

import pytest


@pytest.fixture
def one_thread():
    """This process on one thread for the test."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
