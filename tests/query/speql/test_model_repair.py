"""The schedule of a model's attempts, with a scripted model."""

from __future__ import annotations

import json

import pytest

from firsthand.errors import InputError
from firsthand.query.speql.errors import RepairFailed
from firsthand.query.speql.history import HistoryCompleter
from firsthand.query.speql.model_repair import CURSOR, ModelRepairer
from firsthand.query.speql.repair import apply_edits, repair
from firsthand.query.speql.schema import Schema

SCHEMA = Schema.of({"sales": {"item": "VARCHAR", "price": "INTEGER"}})
TEXT = "SELECT nome FROM sales WHERE price >"
GOOD = json.dumps([{"old": "nome", "new": "item"}, {"old": " WHERE price >", "new": ""}])


class Scripted:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, messages):
        self.asked.append(messages)
        return self.answers.pop(0)


def test_a_local_patch():
    chat = Scripted(f"```json\n{GOOD}\n```")
    history = HistoryCompleter()
    history.add("SELECT price FROM sales WHERE item = 'secret' AND price > 4711", SCHEMA)
    model = ModelRepairer(chat, nearest=history.nearest)
    done = repair(TEXT, SCHEMA, repairer=model)
    assert done.sql == "SELECT item FROM sales"
    assert apply_edits(TEXT, done.edits) == done.sql
    told = json.dumps(chat.asked, ensure_ascii=False)
    assert f"price >{CURSOR}" in told
    assert "sales(item VARCHAR, price INTEGER)" in told
    assert "WHERE item = ? AND price > ?" in told
    assert "secret" not in told
    assert "4711" not in told


def test_the_schedule():
    """N = 3: two patches and one by the large model, two rewrites of two calls each and one by the large model."""
    small = Scripted(
        "no JSON", "[1]", "it lacks a table", "no mark", "still wrong", f"DROP TABLE sales{CURSOR}"
    )
    large = Scripted(
        json.dumps([{"old": "e", "new": ""}]), "say", f"```sql\nSELECT item FROM sales{CURSOR};\n```"
    )
    model = ModelRepairer(small, large=large)
    edits = model(TEXT, len(TEXT), SCHEMA)
    assert apply_edits(TEXT, edits) == "SELECT item FROM sales"
    assert (len(small.asked), len(large.asked)) == (6, 3)
    faults = [messages[1]["content"] for messages in small.asked + large.asked]
    assert "syntax" in faults[0]
    assert "no JSON list" in faults[1]
    assert '"old"' in faults[6]
    assert "exactly once" in faults[2]
    assert "must stay" in faults[4]
    assert "DROP" in faults[7]


def test_back_off_and_recovery():
    chat = Scripted(*["nothing"] * 9, GOOD, GOOD)
    model = ModelRepairer(chat)
    with pytest.raises(RepairFailed, match="must stay"):
        model(TEXT, len(TEXT), SCHEMA)
    assert model.attempts_now == 2
    assert len(chat.asked) == 9  # three patches, three rewrites
    assert model(TEXT, len(TEXT), SCHEMA)
    assert model.attempts_now == 3


def test_patches_must_be_exact():
    for patches, fault in (
        ([{"old": "nothing like it", "new": ""}], "0 times"),
        ([{"old": CURSOR, "new": ""}], "must stay"),
        ([{"old": "nome"}], "under"),
    ):
        chat = Scripted(json.dumps(patches), GOOD)
        assert ModelRepairer(chat)(TEXT, len(TEXT), SCHEMA)
        assert fault in chat.asked[1][1]["content"]


def test_nothing_to_do_and_nothing_to_go_by():
    chat = Scripted()
    assert ModelRepairer(chat)("SELECT item FROM sales", 3, SCHEMA) == []
    assert repair("SELECT item FROM sales", SCHEMA, repairer=ModelRepairer(chat)).exact
    with pytest.raises(RepairFailed):
        ModelRepairer(chat)("  ", 0, SCHEMA)
    with pytest.raises(InputError):
        ModelRepairer(chat, attempts=0)
    other = Scripted(GOOD)
    text = f"SELECT 1; {TEXT}; SELECT 2"
    edits = ModelRepairer(other)(text, 30, SCHEMA)
    assert apply_edits(text, edits) == "SELECT 1; SELECT item FROM sales; SELECT 2"
