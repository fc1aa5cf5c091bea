"""Attempts from wherever they come, and what is refused, with the place where it stands."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsthand.errors import InputError, NotFoundError
from firsthand.evaluation.codearena.scores.attempts import Attempt, Attempts, as_attempts, read_attempts

NOON = datetime(2024, 7, 30, 12, tzinfo=UTC)
ATTEMPTS = [
    Attempt("A", "P2", True, 12.5, "python", NOON, True, "llm"),
    Attempt("B", "P1", False, None, None, None, False, "human"),
    Attempt("A", "P1", False, 3.0, "c", NOON + timedelta(microseconds=1), host_class="x86_64 fast"),
]
RECORDS = [
    {
        "user": a.user, "problem": a.problem, "solved": a.solved, "runtime_ms": a.runtime_ms,
        "language": a.language, "submitted_at": a.submitted_at, "counted": a.counted, "kind": a.kind,
        "host_class": a.host_class,
    }
    for a in ATTEMPTS
]  # fmt: skip
COLUMNS = {name: [record[name] for record in RECORDS] for name in RECORDS[0]}


def in_json():
    return [
        {**record, "submitted_at": record["submitted_at"] and record["submitted_at"].isoformat(), "more": 1}
        for record in RECORDS
    ]


@pytest.mark.parametrize(
    "source",
    [
        ATTEMPTS,
        iter(ATTEMPTS),
        RECORDS,
        in_json(),
        COLUMNS,
        pa.table(COLUMNS),
        pa.table({**COLUMNS, "user": pa.array(COLUMNS["user"]).dictionary_encode(), "more": [1, 2, 3]}),
        pa.concat_tables([pa.table(COLUMNS).slice(0, 1), pa.table(COLUMNS).slice(1)]),
        pd.DataFrame(COLUMNS),
        pd.DataFrame(COLUMNS).convert_dtypes(),
        as_attempts(ATTEMPTS),
    ],
    ids=[
        "attempts", "iterator", "records", "json", "columns", "arrow", "arrow dictionary", "arrow chunks",
        "pandas", "pandas nullable", "itself",
    ],
)  # fmt: skip
def test_every_source_gives_the_same(source):
    found = as_attempts(source)
    assert isinstance(found, Attempts)
    assert list(found) == ATTEMPTS
    assert len(found) == 3
    assert (found.users, found.problems, found.languages) == (("A", "B"), ("P1", "P2"), ("c", "python"))
    assert found.host_classes == ("x86_64 fast",)


def test_names_of_rows_that_were_filtered_away_are_not_there():
    table = pa.table({**COLUMNS, "user": pa.array(COLUMNS["user"]).dictionary_encode()})
    assert as_attempts(table.filter(pa.array([True, False, True]))).users == ("A",)


def test_only_what_is_needed():
    bare = [{"user": "A", "problem": "P", "solved": True, "runtime_ms": 3}]
    assert list(as_attempts(bare)) == [Attempt("A", "P", True, 3.0)]
    assert list(as_attempts([{"user": "A", "problem": "P", "solved": False}])) == [
        Attempt("A", "P", False, None)
    ]
    some = [*bare, {**bare[0], "user": "B", "kind": "human", "counted": False}]
    assert [(a.kind, a.counted) for a in as_attempts(some)] == [("llm", True), ("human", False)]
    assert len(as_attempts([])) == len(as_attempts({})) == 0
    assert len(as_attempts(pa.table(COLUMNS).slice(0, 0))) == 0


def test_files(tmp_path):
    lines = tmp_path / "attempts.jsonl"
    lines.write_text("\n".join(json.dumps(record) for record in in_json()) + "\n\n")
    pq.write_table(pa.table(COLUMNS), tmp_path / "attempts.parquet")
    assert list(read_attempts(lines)) == list(read_attempts(tmp_path / "attempts.parquet")) == ATTEMPTS


def test_bad_files(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        read_attempts(tmp_path / "none.jsonl")
    for name, content, says in (
        ("a.csv", b"user", "are read from .jsonl and .parquet"),
        ("b.jsonl", b'{"user": "A"}\n{', r"b.jsonl:2: not JSON"),
        ("c.jsonl", b"[1]", r"c.jsonl:1: a line must be a JSON object, not a list"),
        ("d.jsonl", b'{"user": "A", "problem": "P", "solved": "yes"}', "d.jsonl: attempt 0: solved must be"),
        ("e.jsonl", b"\xff\xfe", "e.jsonl: cannot be read"),
        ("f.parquet", b"PAR1 and no more", "f.parquet: cannot be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=says):
            read_attempts(tmp_path / name)


def test_times_are_in_utc():
    east = datetime(2024, 7, 30, 14, tzinfo=timezone(timedelta(hours=2)))
    naive = datetime(2024, 7, 30, 12)
    assert Attempt("A", "P", False, None, submitted_at=east).submitted_at == NOON
    assert Attempt("A", "P", False, None, submitted_at=naive).submitted_at == NOON
    for value in (east, naive, "2024-07-30T14:00:00+02:00", "2024-07-30T12:00:00Z", "2024-07-30 12:00"):
        (found,) = as_attempts([{**RECORDS[1], "submitted_at": value}])
        assert found.submitted_at == NOON


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"user": ""}, "user must be a text that is not empty"),
        ({"user": None}, "user must be a text"),
        ({"user": 3}, "user must be a text"),
        ({"problem": float("nan")}, "problem must be a text"),
        ({"solved": 1}, "solved must be true or false, got 1"),
        ({"solved": None}, "solved must be true or false"),
        ({"counted": "yes"}, "counted must be true or false"),
        ({"runtime_ms": None}, "solved the problem, so it needs a runtime_ms"),
        ({"runtime_ms": -1.0}, "finite and not negative"),
        ({"runtime_ms": float("inf")}, "finite and not negative"),
        ({"runtime_ms": 10**400}, "finite and not negative"),
        ({"runtime_ms": True}, "must be a number of milliseconds"),
        ({"runtime_ms": "12"}, "must be a number of milliseconds"),
        ({"language": ""}, "language must be a text"),
        ({"language": 3}, "language must be a text"),
        ({"host_class": ""}, "host_class must be a text"),
        ({"kind": "robot"}, "kind must be one of llm, human, got 'robot'"),
        ({"submitted_at": 17}, "submitted_at must be a"),
    ],
)
def test_bad_values(fields, says):
    good = {"user": "A", "problem": "P", "solved": True, "runtime_ms": 1.0}
    with pytest.raises(InputError, match=says) as one:
        Attempt(**{**good, **fields})
    with pytest.raises(InputError, match=says) as many:
        as_attempts([good, {**good, **fields}])
    assert "attempt of " in str(one.value)
    assert "attempt 1" in str(many.value)


def test_a_runtime_that_is_not_a_number():
    with pytest.raises(InputError, match="finite"):
        Attempt("A", "P", True, float("nan"))
    with pytest.raises(InputError, match="needs a runtime_ms"):
        as_attempts(
            pa.table({"user": ["A"], "problem": ["P"], "solved": [True], "runtime_ms": [float("nan")]})
        )


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([{"user": "A", "problem": "P"}], "attempt 0: no field 'solved'"),
        ([ATTEMPTS[0], RECORDS[1]], "expected an Attempt or a mapping of its fields, got Attempt"),
        ([3], "attempt 0: expected an Attempt or a mapping"),
        ({"user": ["A"], "solved": [True], "runtime_ms": [1]}, "no column 'problem' among"),
        ({**COLUMNS, "solved": [True]}, "column 'solved' has 1 rows, column 'user' has 3"),
        ({**COLUMNS, "user": [["A"], "B", "A"]}, "user must be a text on every attempt"),
        ({**COLUMNS, "kind": ["llm", "human", "human"]}, "'A' is given as an llm and as a human"),
        (
            {**COLUMNS, "submitted_at": ["yesterday", None, None]},
            "attempt 0: submitted_at must be a time, such",
        ),
        (pa.table({**COLUMNS, "user": ["A", None, "B"]}), "attempt 1: user must be a text"),
        (pa.table({**COLUMNS, "solved": [True, None, False]}), "attempt 1: solved must be true or false"),
        ({**COLUMNS, "runtime_ms": np.array([True, False, True])}, "must be a number of milliseconds"),
        ("attempts.jsonl", "a file is read by read_attempts"),
        (7, "must be a sequence, a table"),
    ],
    ids=range(13),
)
def test_bad_sources(source, says):
    with pytest.raises(InputError, match=says):
        as_attempts(source)
