"""What pages say in words and numbers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from firsthand.evaluation.codearena.errors import ArenaError
from firsthand.evaluation.codearena.pages.words import (
    WORDS_OF_STATUS,
    bytes_text,
    day_text,
    milliseconds,
    moment_text,
    percent,
    points_text,
    rules_in_words,
    said_of,
)
from firsthand.evaluation.codearena.scores.rules import Rules


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5.00"),
        (3.3333, "3.33"),
        (0, "0.00"),
        (-1.5, "−1.50"),
        (-0.001, "0.00"),
        (12345.678, "12,345.68"),
        (None, "–"),
    ],
)
def test_points(value, text):
    assert points_text(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50 %"),
        (0.999, "> 99 %"),
        (0.001, "< 1 %"),
        (2 / 3, "67 %"),
        (None, "–"),
    ],
)
def test_percent_calls_nothing_all_that_is_not_all(share, text):
    assert percent(share) == text


def test_percent_with_decimals():
    assert percent(0.12345, 1) == "12.3 %"
    assert percent(0.9999, 1) == "> 99.9 %"


@pytest.mark.parametrize(
    ("value", "text"), [(0.4, "0.4 ms"), (58, "58 ms"), (999.4, "999 ms"), (1240, "1.24 s"), (None, "–")]
)
def test_times(value, text):
    assert milliseconds(value) == text


@pytest.mark.parametrize(
    ("kib", "text"),
    [
        (0, "0 KiB"),
        (1000, "1000 KiB"),
        (1024, "1 MiB"),
        (262144, "256 MiB"),
        (1572864, "1.5 GiB"),
        (None, "–"),
    ],
)
def test_memory(kib, text):
    assert bytes_text(kib) == text


def test_moments_are_told_in_utc():
    east = timezone(timedelta(hours=9))
    assert moment_text(datetime(2024, 7, 31, 3, 5, tzinfo=east)) == "30 July 2024, 18:05 UTC"
    assert day_text(datetime(2024, 7, 31, 3, 5, tzinfo=east)) == "30 July 2024"
    assert day_text(date(2024, 1, 2)) == "2 January 2024"
    assert moment_text(datetime(2024, 7, 30, tzinfo=UTC)) == "30 July 2024, 00:00 UTC"


def test_what_is_judged_again_waits():
    assert said_of("AC", "done").word == "Accepted"
    assert said_of("AC", "queued").word == "Waiting"
    assert said_of(None, "judging").mark == "waiting"
    assert said_of("IE", "failed").mark == "judge"
    assert {said_of(code, "done").mark for code in ("WA", "TLE", "MLE", "OLE", "RTE", "CE")} == {"wrong"}


def test_rules_are_told_completely():
    said = " ".join(rules_in_words(Rules()))
    assert "sum of challenge and efficiency" in said
    assert "all language models" in said
    other = " ".join(
        rules_in_words(
            Rules(
                "share", "sum", "submission", "all", 0.5, "problem+language", 10, ["bob", ("problem", "P1")]
            )
        )
    )
    for words in (
        "0.5 times",
        "split evenly",
        "same language",
        "10 %",
        "everybody",
        "bob and the problem P1",
    ):
        assert words in other
    assert "DMOJ" in " ".join(rules_in_words(Rules(aggregate="dmoj")))
    assert "ann and bob, and nobody else" in " ".join(rules_in_words(Rules(population=["bob", "ann"])))


def test_every_status_that_the_arena_answers_has_words():
    def kinds(base):
        for one in base.__subclasses__():
            yield one
            yield from kinds(one)

    assert {one.status for one in kinds(ArenaError)} | {403, 404, 405, 500} <= set(WORDS_OF_STATUS)
