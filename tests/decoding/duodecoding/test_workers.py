"""Where the draft runs: three executors, one text; a process that fails says so and never hangs."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from firsthand.decoding.duodecoding import DraftRecipe, DraftWorkerError, DuoDecoder
from firsthand.decoding.duodecoding.workers import start_executor
from firsthand.errors import FirsthandError, InputError
from firsthand.lm.decoding import NonFiniteLogitsError, PlainDecoder, SamplingParams
from firsthand.lm.decoding.emulated import EmulatedDevice

from .models_for_tests import (
    build_counter,
    build_failing,
    build_nothing,
    counters,
    duo,
    random_pair,
    where_am_i,
)


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def test_every_executor_gives_the_same_text(executor):
    for seed in range(1 if executor == "process" else 6):
        target, draft, prompt = random_pair(seed)
        with duo(target, draft, 4, executor=executor) as decoder:
            for sampling in (SamplingParams(), SamplingParams(temperature=0.8, seed=3)):
                wanted = PlainDecoder(target).generate(prompt, 40, sampling).tokens
                assert decoder.generate(prompt, 40, sampling).tokens == wanted


def test_both_sides_work_at_the_same_time():
    """A thread beside an emulated device: more seconds are worked than pass."""
    target, draft = counters(40, {17: 0})
    with duo(
        EmulatedDevice(target, 10.0), EmulatedDevice(draft, 2.0), 5, executor="thread", sequences=1
    ) as decoder:
        found = decoder.generate([0], 60)
    assert found.tokens == PlainDecoder(target).generate([0], 60).tokens
    assert found.draft_busy_s + found.target_busy_s > 1.2 * found.wall_s
    assert found.idle_share["target"] < 0.5


def test_a_process_on_its_own_core_and_thread():
    target, _ = counters(10, {})
    core = sorted(os.sched_getaffinity(0))[0]
    with DuoDecoder(
        target,
        DraftRecipe(where_am_i, (10,)),
        executor="process",
        budget=2,
        draft_cores=[core],
        fallback=False,
    ) as decoder:
        cores, threads, pid = decoder._started_worker().info.name.rsplit(" ", 2)
    assert cores == f"[{core}]"
    assert threads == "1"
    assert int(pid) != os.getpid()


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("raise", DraftWorkerError, r"(?s)failed:.*Traceback.*the draft broke in its own way"),
        ("exit", DraftWorkerError, "ended with exit code 7"),
        ("nan", NonFiniteLogitsError, "draft gave logits"),
    ],
)
def test_a_draft_that_fails_is_an_error(how, error, message):
    target, _ = counters(10, {})
    with DuoDecoder(
        target, DraftRecipe(build_failing, (10, how)), executor="process", budget=3, fallback=False
    ) as decoder:
        with pytest.raises(error, match=message) as raised:
            decoder.generate([0], 60)
        assert isinstance(raised.value, FirsthandError)


def test_a_draft_that_hangs_is_ended():
    target, _ = counters(10, {})
    started = time.monotonic()
    with (
        DuoDecoder(
            target, DraftRecipe(build_failing, (10, "hang")), executor="process", budget=3, fallback=False,
            timeout_s=1.0,
        ) as decoder,
        pytest.raises(DraftWorkerError, match="did not answer within 1 s"),
    ):  # fmt: skip
        decoder.generate([0], 60)
    assert time.monotonic() - started < 50


def test_a_draft_that_is_killed_is_an_error():
    target, _ = counters(10, {})
    slow = EmulatedDevice(target, 30.0)
    with DuoDecoder(
        slow, DraftRecipe(build_counter, (10,)), executor="process", budget=3, fallback=False
    ) as decoder:
        pid = decoder._started_worker().pid
        threading.Timer(0.4, os.kill, (pid, signal.SIGKILL)).start()
        with pytest.raises(DraftWorkerError, match="by signal 9"):
            decoder.generate([0], 200)
        assert decoder.generate([0], 20).tokens == PlainDecoder(target).generate([0], 20).tokens


def test_a_draft_that_cannot_be_loaded():
    target, _ = counters(10, {})
    with pytest.raises(DraftWorkerError, match="no such model on this machine"):
        DuoDecoder(target, DraftRecipe(build_nothing), executor="process", budget=3)


def test_wrong_executors():
    _, draft = counters(10, {})
    with pytest.raises(InputError, match="not one of 'serial'"):
        start_executor(draft, "elsewhere")
    with pytest.raises(InputError, match="belong to executor='process'"):
        start_executor(draft, "thread", threads=1)
    with pytest.raises(InputError, match="timeout_s"):
        start_executor(draft, "process", timeout_s=0)
    with pytest.raises(InputError, match="draft_threads"):
        start_executor(draft, "process", threads=0)
    with pytest.raises(InputError, match="cannot be sent"):
        start_executor(DraftRecipe(lambda: draft), "process")
