"""Large boards are shown for a moment longer, small ones never; one request draws for all."""

from __future__ import annotations

import threading

import pytest

from firsthand.evaluation.codearena.pages.recent import Recent

from .test_pages_sessions import Ticks


def counting():
    made: list[int] = []

    def draw() -> int:
        made.append(len(made))
        return made[-1]

    return draw


def test_what_is_made_of_few_results_is_always_the_newest():
    recent, draw = Recent(clock=Ticks()), counting()
    assert [recent.of("a", draw, lambda _: 2000) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("results", "seconds"), [(4000, 1.0), (10_000, 2.5), (10**7, 5.0)])
def test_what_is_made_of_many_is_kept_in_proportion(results, seconds):
    ticks = Ticks()
    recent, draw = Recent(clock=ticks), counting()
    assert recent.of("a", draw, lambda _: results) == 0
    ticks.now += seconds - 0.001
    assert recent.of("a", draw, lambda _: results) == 0
    assert recent.of("b", draw, lambda _: results) == 1
    ticks.now += 0.001
    assert recent.of("a", draw, lambda _: results) == 2


def test_the_one_not_asked_for_longest_goes():
    recent, draw = Recent(clock=Ticks(), most=2), counting()
    for key in ("a", "b", "a", "c"):
        recent.of(key, draw, lambda _: 10**6)
    assert recent.of("a", draw, lambda _: 10**6) == 0
    assert recent.of("b", draw, lambda _: 10**6) == 3


def test_one_draws_for_all_who_wait():
    recent = Recent()
    begun, go = threading.Event(), threading.Event()
    made: list[int] = []

    def draw() -> str:
        made.append(1)
        begun.set()
        assert go.wait(30)
        return "board"

    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(recent.of("a", draw, lambda _: 10**6))) for _ in range(8)
    ]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(30)
    assert found == ["board"] * 8
    assert len(made) == 1


def test_what_fails_is_tried_again():
    recent = Recent()

    def broken() -> int:
        raise ValueError("away")

    for _ in range(2):
        with pytest.raises(ValueError, match="away"):
            recent.of("a", broken, lambda _: 0)
    assert recent.of("a", lambda: 7, lambda _: 10**6) == 7
