"""A table comes back from rows, Arrow, JSON lines and Parquet as it was; its scores grow with doubt; bad rows."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError, NotFoundError, OutputError
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores
from firsthand.evaluation.uncertainty.table import UncertaintyTable, read_table

from .slow import unhurried

ROWS = [
    {"id": "a", "choice": 1, "valid": True, "correct": True, "H_vocab": 0.5, "H_options": 0.25, "option_mass": 0.75,
     "msp": 0.875, "margin": 0.75, "n_options": 4, "n_tokens": 1, "truncated": False, "subject": "law",
     "label.steps": "low", "score.judge": 0.25},
    {"id": "b", "choice": 0, "valid": True, "correct": False, "H_vocab": 1.5, "subject": "law", "truncated": True},
    {"id": "c", "choice": None, "valid": False, "correct": False, "H_vocab": 2.0, "label.steps": "high"},
]  # fmt: skip

NAMES = st.none() | st.text("abü, \n", min_size=1, max_size=3)
NUMBERS = st.none() | st.floats(0, 1)


@st.composite
def rows(draw):
    found = []
    for number in range(draw(st.integers(1, 5))):
        valid = draw(st.booleans())
        found.append(
            {
                "id": f"q{number}",
                "choice": draw(st.integers(0, 3)) if valid else None,
                "valid": valid,
                "correct": valid and draw(st.booleans()),
                "n_options": draw(st.none() | st.integers(4, 9)),
                "H_vocab": draw(st.none() | st.floats(0, 20)),
                "msp": draw(NUMBERS),
                "subject": draw(NAMES),
                "label.steps": draw(NAMES),
                "score.judge": draw(st.none() | st.floats(-9, 9)),
            }
        )
    return found


@settings(unhurried, max_examples=30)
@given(rows())
def test_any_table_comes_back(tmp_path_factory, given_rows):
    folder = tmp_path_factory.mktemp("any")
    table = UncertaintyTable.from_rows(given_rows)
    wanted = list(table.rows())
    for row, was in zip(wanted, given_rows, strict=True):
        assert {name: row[name] for name in was} == was
    for name in ("a.jsonl", "a.parquet"):
        table.write(folder / name)
        assert list(read_table(folder / name).rows()) == wanted
    assert list(UncertaintyTable.from_arrow(table.to_arrow()).rows()) == wanted
    assert list(UncertaintyTable.from_rows(wanted).rows()) == wanted


def test_columns():
    table = UncertaintyTable.from_rows(ROWS)
    assert len(table) == 3
    assert table.choice.tolist() == [1, 0, -1]
    assert table.n_options.tolist() == [4, -1, -1]
    assert table.truncated.tolist() == [False, True, False]
    assert table.group("steps") == ("low", None, "high")
    assert table.group("subject") == ("law", "law", None)
    assert table.group_names == ("subject", "steps")
    assert math.isnan(table.msp[1])
    assert table.judged().tolist() == [True, True, False]
    assert table.judged("error").all()


def test_what_is_missing_is_null_in_arrow_and_left_out_of_json(tmp_path):
    table = UncertaintyTable.from_rows(ROWS)
    found = table.to_arrow()
    assert [str(found.schema.field(name).type) for name in ("id", "choice", "valid", "msp", "label.steps")] == [
        "string", "int64", "bool", "double", "string",
    ]  # fmt: skip
    assert found.column("msp").null_count == 2
    table.write(tmp_path / "a.jsonl")
    first, second, third = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert first == ROWS[0]
    assert second == {**ROWS[1], "label.steps": None, "score.judge": None}
    assert third["choice"] is None


def test_scores_grow_with_doubt():
    table = UncertaintyTable.from_rows(ROWS)
    first = np.array([True, False, False])
    assert table.uncertainty("H_vocab").tolist() == [0.5, 1.5, 2.0]
    assert table.uncertainty("msp", first) == [0.125]
    assert table.uncertainty("margin", first) == [0.25]
    assert table.uncertainty("option_mass", first) == [0.25]
    assert table.uncertainty("judge", first) == [0.25]
    assert "judge" in table.score_names
    with pytest.raises(NonFiniteScores, match=r"'msp'.*rows b, c") as raised:
        table.uncertainty("msp")
    assert raised.value.rows == ("b", "c")
    with pytest.raises(InputError, match="no score 'entropy'; there are H_vocab"):
        table.uncertainty("entropy")


def test_some_rows():
    table = UncertaintyTable.from_rows(ROWS)
    assert table.take(np.array([False, True, True])).id == ("b", "c")
    found = table.take([2, 0])
    assert found.id == ("c", "a")
    assert found.labels["steps"] == ("high", "low")
    assert found.scores["judge"].tolist()[1] == 0.25
    with pytest.raises(EmptyGroup, match="none of 3"):
        table.take(np.zeros(3, bool))
    for wrong in (np.ones(2, bool), [3], [-1], [0.5], [[0]]):
        with pytest.raises(InputError, match="flags"):
            table.take(wrong)
    with pytest.raises(InputError, match="was taken by row 0"):
        table.take([1, 1])


def test_names_that_are_not_there():
    table = UncertaintyTable.from_rows(ROWS)
    with pytest.raises(InputError, match="no column 'topic' to group by; there are subject, steps"):
        table.group("topic")
    with pytest.raises(InputError, match="invalid must be one of apart, error"):
        table.judged("drop")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "b"}, r"row 1: the id 'b' was taken by row 0|row 1: the id"),
        ({"id": ""}, "row 0: id must be"),
        ({"id": 3}, "row 0: id must be"),
        ({"valid": 1}, r"row 0 \('a'\): valid must be true or false, got 1"),
        ({"correct": None}, "correct must be true or false"),
        ({"truncated": "no"}, "truncated must be"),
        ({"choice": None}, "choice must be a place"),
        ({"choice": -1}, "choice must be a whole number from 0"),
        ({"choice": True}, "choice must be a whole number"),
        ({"choice": 4}, "below n_options, 4"),
        ({"valid": False}, "choice must be a place"),
        ({"valid": False, "choice": None}, "correct must be false where the answer is invalid"),
        ({"n_options": 1}, "n_options must be a whole number from 2"),
        ({"n_tokens": 1.5}, "n_tokens"),
        ({"H_vocab": -0.1}, "H_vocab must be from 0"),
        ({"H_vocab": math.inf}, "H_vocab must be finite"),
        ({"H_vocab": "0.5"}, "H_vocab must be a number"),
        ({"msp": 1.5}, "msp must be from 0 to 1"),
        ({"score.judge": math.inf}, "score.judge must be finite"),
        ({"score.judge": True}, "score.judge must be a number"),
        ({"subject": ""}, "subject must be a text"),
        ({"label.steps": 3}, "label.steps must be a text"),
        ({"entropy": 3}, "no column 'entropy'"),
        ({"label.": "x"}, "no column 'label.'"),
    ],
)
def test_bad_rows(tmp_path, change, says):
    wrong = [{**ROWS[0], **change}, *ROWS[1:]]
    with pytest.raises(InputError, match=says):
        UncertaintyTable.from_rows(wrong)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in wrong))
    with pytest.raises(InputError, match=says) as raised:
        read_table(tmp_path / "a.jsonl")
    assert str(raised.value).startswith(f"{tmp_path}/a.jsonl: ")


def test_other_bad_input(tmp_path):
    with pytest.raises(EmptyGroup, match="at least one row"):
        UncertaintyTable.from_rows([])
    with pytest.raises(InputError, match="row 1: no field 'correct'"):
        UncertaintyTable.from_rows([ROWS[0], {"id": "x", "choice": 0, "valid": True}])
    with pytest.raises(InputError, match="row 0: expected a mapping, got str"):
        UncertaintyTable.from_rows(["a"])
    with pytest.raises(InputError, match="no column 'valid'"):
        UncertaintyTable.from_columns({"id": ["a"], "choice": [0]})
    with pytest.raises(InputError, match="column 'valid' has 2 rows where 'id' has 1"):
        UncertaintyTable.from_columns({"id": ["a"], "choice": [0], "valid": [True, True], "correct": [True]})
    for name in ("a.parquet", "a.jsonl"):
        (tmp_path / name).write_text("not a table")
        with pytest.raises(InputError, match=name):
            read_table(tmp_path / name)
    (tmp_path / "b.jsonl").write_text("\n")
    with pytest.raises(EmptyGroup, match=r"b\.jsonl: a table needs"):
        read_table(tmp_path / "b.jsonl")
    with pytest.raises(NotFoundError, match="no such file"):
        read_table(tmp_path / "c.jsonl")
    table = UncertaintyTable.from_rows(ROWS)
    (tmp_path / "a.csv").touch()
    with pytest.raises(InputError, match=r"\.jsonl or a \.parquet"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(InputError, match=r"\.jsonl or a \.parquet"):
        table.write(tmp_path / "a.csv")
    with pytest.raises(OutputError, match=r"b\.jsonl"):
        table.write(tmp_path / "b.jsonl" / "c.jsonl")
