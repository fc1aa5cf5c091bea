"""Columns of several answers a row, and generators that depend on given numbers alone."""

from __future__ import annotations

import torch

from firsthand.rl.rows import answer_columns, column_names, seeded_generator


def test_columns_have_an_entry_an_answer():
    rows = [{"prompt": "a", "target": 1}, {"prompt": "b", "target": 2, "hint": "x"}]
    names = column_names(rows)
    assert names == ["hint", "target"]
    assert answer_columns(rows, names, 2) == {"hint": [None, None, "x", "x"], "target": [1, 1, 2, 2]}
    assert answer_columns(rows[:1], names, 1) == {"hint": [None], "target": [1]}


def test_a_generator_depends_on_its_numbers_alone():
    def draw(*numbers):
        return torch.rand(4, generator=seeded_generator(*numbers)).tolist()

    assert draw(0, 7) == draw(0, 7)
    assert len({tuple(draw(*numbers)) for numbers in ((0, 7), (7, 0), (0, 7, 1), (1, 7))}) == 4
