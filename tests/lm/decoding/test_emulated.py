"""An emulated device: the same answers, later."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest
import torch

from firsthand.errors import InputError
from firsthand.lm.decoding.emulated import EmulatedDevice
from firsthand.lm.decoding.ngram import TableLM
from firsthand.lm.decoding.protocol import CausalLM


@pytest.fixture
def table():
    return TableLM(np.random.default_rng(0).normal(size=(6, 6)))


def test_answers_are_the_models_own(table):
    slow = EmulatedDevice(table, 0.1, 0.1)
    assert isinstance(slow, CausalLM)
    assert (slow.name, slow.vocab_size, slow.max_length) == (table.name, 6, None)
    assert torch.equal(
        slow.forward([0, 3], slow.new_cache(), last=1), table.forward([0, 3], table.new_cache(), last=1)
    )
    assert slow.of_successors is not None  # all the rest passes through
    with pytest.raises(AttributeError):
        _ = slow.nothing_of_that_name
    assert pickle.loads(pickle.dumps(slow)).base_ms == 0.1


@pytest.mark.parametrize("count", [1, 5])
def test_no_earlier_than_promised_and_asleep(table, count):
    slow = EmulatedDevice(table, 20, 4)
    start, cpu = time.perf_counter(), time.process_time()
    slow.forward([1] * count, slow.new_cache())
    assert time.perf_counter() - start >= (20 + 4 * count) / 1000
    assert time.process_time() - cpu < 0.015  # asleep, not spinning


def test_a_slower_model_keeps_its_time(table):
    slow = EmulatedDevice(EmulatedDevice(table, 30), 5)
    start = time.perf_counter()
    slow.forward([1], slow.new_cache())
    assert time.perf_counter() - start >= 0.03


@pytest.mark.parametrize("times", [(-1, 0), (1, -1), (float("nan"), 0)])
def test_bad_input(table, times):
    with pytest.raises(InputError, match="at least 0"):
        EmulatedDevice(table, *times)
