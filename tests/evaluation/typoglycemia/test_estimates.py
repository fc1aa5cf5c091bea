"""Estimates from a table: against loops, on tables whose answer is known, and tables that cannot be used."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.claims.intervals import UndecidedError
from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.estimates import (
    context_over_form,
    dose_slope,
    effect,
    rescaled_by_dose,
    rescaled_slope,
    variance_shares,
    zero_dose,
)
from firsthand.evaluation.typoglycemia.scores import COLUMNS, as_scores

SRS = (0.0, 0.25, 0.5, 1.0)
CIS = (1.0, 0.5)
FEW = {"n_boot": 200}


def table(items=40, words=32, noise=0.0, seed=0, layers=(0, 3), controls=True):
    """cos = 1 − 0.4·dose − 0.02·(1 − ci) + what is the item's + noise; floor 0.7, ceiling 1 − 0.1·sr."""
    rng = random.Random(seed)
    rows = []
    for item in range(items):
        own = rng.gauss(0, 1) * noise
        for sr in SRS:
            realised = 0.8 * sr + (rng.uniform(-0.02, 0.02) if sr and noise else 0)
            for ci in CIS:
                for layer in layers:
                    base = {
                        "item": f"t{item}", "word": f"w{item % words}", "sr": sr, "realised": realised, "ci": ci,
                        "layer": layer, "n_pieces": 1 + round(4 * sr),
                    }  # fmt: skip
                    cos = 1 - 0.4 * realised - 0.02 * (1 - ci)
                    cos += (own + rng.gauss(0, 1) * noise) if sr else 0
                    rows.append(
                        base | {"arm": "scramble", "cos": max(-1.0, min(1.0, cos - 0.05 * (layer == 0)))}
                    )
                    if controls and sr:
                        rows.append(base | {"arm": "segment", "cos": 1 - 0.1 * sr})
                        rows.append(base | {"arm": "wrong_segment", "cos": 0.7 + rng.gauss(0, 1) * noise})
    return rows


def of(rows, arm="scramble", layer=3):
    return [row for row in rows if row["arm"] == arm and row["layer"] == layer]


def by_word(rows, value):
    """Mean over words of the mean over items of `value(rows of an item)`."""
    items = defaultdict(list)
    for row in rows:
        items[row["word"], row["item"]].append(row)
    words = defaultdict(list)
    for (word, _), some in items.items():
        words[word].append(value(some))
    return [np.mean(values, axis=0) for values in words.values()]


# --- known answers -------------------------------------------------------------------------------------


def test_a_line_has_its_slope():
    found = dose_slope(table(), **FEW)
    assert found.value == pytest.approx(-0.4)
    assert (found.low, found.high) == pytest.approx((-0.4, -0.4))
    assert (found.words, found.level, found.method) == (32, 0.95, "BCa bootstrap")


def test_effects_of_dose_and_context():
    rows = table()
    assert effect(rows, by="sr", one=1, other=0, **FEW).value == pytest.approx(-0.32)
    assert effect(rows, by="ci", one=0.5, other=1, **FEW).value == pytest.approx(-0.01)
    assert effect(rows, by="sr", one=0.5, other=0.25, at=[0.5], **FEW).value == pytest.approx(-0.08)
    assert effect(rows, by="sr", one=1, other=0.5, arm="segment", **FEW).value == pytest.approx(-0.05)
    assert context_over_form(rows, **FEW).value == pytest.approx(0.01 / 0.32)


def test_rescaled_scores_and_where_they_are_zero():
    rows = table()
    found = rescaled_by_dose(rows)
    assert [row.sr for row in found] == [0.25, 0.5, 1.0]
    assert [row.realised for row in found] == pytest.approx([0.2, 0.4, 0.8])
    wanted = [(0.92 - 0.7) / (0.975 - 0.7), (0.84 - 0.7) / (0.95 - 0.7), (0.68 - 0.7) / (0.9 - 0.7)]
    assert [row.rescaled for row in found] == pytest.approx(wanted)  # .8, .56, −.1
    assert zero_dose(rows, **FEW).value == pytest.approx(0.4 + 0.4 * 0.56 / 0.66)
    assert rescaled_slope(rows, **FEW).value == pytest.approx(np.polyfit([0.2, 0.4, 0.8], wanted, 1)[0])


def test_a_zero_before_the_first_dose():
    rows = [row for row in table() if row["sr"] in (0, 1)]
    found = zero_dose(rows, **FEW)  # straight from R = 1 at dose 0 to R = −.1 at .8
    assert found.value == pytest.approx(0.8 / 1.1)


def test_a_score_that_stays_above_a_wrong_words():
    found = zero_dose(table(), srs=[0.25, 0.5], **FEW)
    assert (found.value, found.low, found.high) == (math.inf, math.inf, math.inf)


def test_a_zero_that_some_resamples_do_not_have():
    rows = table(noise=0.03, items=60, words=60, seed=3)
    found = zero_dose(rows, **FEW)
    assert 0.5 < found.low < found.high
    assert found.low <= found.value <= found.high
    lifted = [row | {"cos": min(1, row["cos"] + 0.02 * (row["arm"] == "scramble"))} for row in rows]
    some = zero_dose(lifted, **FEW)
    assert some.low < 0.8 < some.high == math.inf  # not NaN


def test_the_pilot_of_the_sheet():
    """Gemma 3 270M: R = .79 at SR .5 and −1.5 at SR 1."""
    figures = {0.5: (0.878, 0.898, 0.801), 1.0: (0.659, 0.851, 0.774)}
    rows = [
        {"item": item, "word": f"w{item}", "sr": sr, "realised": sr * 0.8, "ci": 1.0, "arm": arm, "layer": 18,
         "cos": cos, "n_pieces": 5}
        for item in range(30)
        for sr, cosines in figures.items()
        for arm, cos in zip(("scramble", "segment", "wrong_segment"), cosines, strict=True)
    ]  # fmt: skip
    assert [row.rescaled for row in rescaled_by_dose(rows)] == pytest.approx([0.7938, -1.4935], abs=5e-5)
    assert zero_dose(rows, **FEW).value == pytest.approx(0.4 + 0.4 * 0.7938 / (0.7938 + 1.4935), abs=1e-4)


# --- against loops -------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(30, 36))
def test_values_equal_loops(seed, words):
    rows = table(items=45, words=words, noise=0.05, seed=seed)
    some = [row for row in of(rows) if row["ci"] == 1]

    def sums(item):
        x, y = [row["realised"] for row in item], [row["cos"] for row in item]
        return [
            sum((a - mean(x)) * (b - mean(y)) for a, b in zip(x, y, strict=True)),
            sum((a - mean(x)) ** 2 for a in x),
        ]

    over, under = np.mean(by_word(some, sums), axis=0)
    assert dose_slope(rows, n_boot=20).value == pytest.approx(over / under)

    def difference(item):
        cos = {row["sr"]: row["cos"] for row in item}
        return cos[1.0] - cos[0.25]

    found = effect(rows, by="sr", one=1, other=0.25, at=[1], n_boot=20)
    assert found.value == pytest.approx(np.mean(by_word(some, difference)))

    floor = np.mean(
        by_word(
            [r for r in of(rows, "wrong_segment") if (r["ci"], r["sr"]) == (1, 0.5)], lambda i: i[0]["cos"]
        )
    )
    score = np.mean(by_word([r for r in some if r["sr"] == 0.5], lambda i: i[0]["cos"]))
    assert rescaled_by_dose(rows, srs=[0.5])[0].rescaled == pytest.approx((score - floor) / (0.95 - floor))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99))
def test_shares_equal_least_squares(seed):
    """η² of each factor is what the residual sum of squares grows by when its columns are taken away."""
    rows = [row for row in of(table(items=6, noise=0.05, seed=seed)) if row["sr"]]
    y = np.array([row["cos"] for row in rows])

    def columns(*names):
        parts = [np.ones((len(rows), 1))]
        for name in names:
            levels = sorted({row[name] for row in rows})
            parts.append(np.array([[row[name] == level for level in levels] for row in rows], float))
        return np.hstack(parts)

    def residual(*names):
        X = columns(*names)
        return ((y - X @ np.linalg.lstsq(X, y, rcond=None)[0]) ** 2).sum()

    whole = residual()
    found = variance_shares(rows)
    assert found.sr == pytest.approx((residual("ci", "item") - residual("sr", "ci", "item")) / whole)
    assert found.ci == pytest.approx((residual("sr", "item") - residual("sr", "ci", "item")) / whole)
    assert found.item == pytest.approx((residual("sr", "ci") - residual("sr", "ci", "item")) / whole)
    assert found.rest == pytest.approx(residual("sr", "ci", "item") / whole)


def test_shares_of_one_factor():
    rows = [row for row in of(table(items=5)) if row["ci"] == 1]
    found = variance_shares(rows)
    assert (found.sr, found.ci, found.item, found.rest) == pytest.approx((1, 0, 0, 0), abs=1e-9)


# --- words, draws, order -------------------------------------------------------------------------------


def test_words_count_once_however_many_texts_they_have():
    """Thirty words of one text with no effect, one word of a hundred texts with a large one."""
    rows = []
    for item in range(130):
        word = f"w{item}" if item < 30 else "frequent"
        for sr, cos in ((0.0, 1.0), (1.0, 1.0 if item < 30 else 0.0)):
            rows.append(dict(zip(COLUMNS, (item, word, sr, sr, 1.0, "scramble", 0, cos, 1), strict=True)))
    found = effect(rows, by="sr", one=1, other=0, **FEW)
    assert found.words == 31
    assert found.value == pytest.approx(-1 / 31)
    assert dose_slope(rows, **FEW).value == pytest.approx(-1 / 31)


def test_texts_of_one_word_are_no_new_words():
    rows = table(items=32, words=32, noise=0.05)
    copies = [row | {"item": f"{row['item']}-{copy}"} for row in rows for copy in range(4)]
    once, often = (effect(some, by="sr", one=1, other=0.25, **FEW) for some in (rows, copies))
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))


def test_draws_of_one_scramble_are_averaged():
    rows = table(controls=False)
    two = [row | {"cos": row["cos"] - 0.1 * (copy if row["sr"] else 0)} for row in rows for copy in range(2)]
    found, wanted = (effect(some, by="sr", one=1, other=0, **FEW).value for some in (two, rows))
    assert found == pytest.approx(wanted - 0.05)


def test_order_and_layer():
    rows = table(noise=0.04)
    shuffled = [*rows]
    random.Random(1).shuffle(shuffled)
    for call in (dose_slope, rescaled_slope, zero_dose):
        one, other = call(rows, **FEW), call(shuffled, **FEW)
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
        assert call(rows, seed=1, **FEW).low != one.low
    assert dose_slope(rows, layer=-1, **FEW) == dose_slope(rows, layer=3, **FEW)
    assert dose_slope(rows, layer=-2, **FEW) == dose_slope(rows, layer=0, **FEW) != dose_slope(rows, **FEW)
    assert dose_slope(rows, level=0.5, **FEW).low > dose_slope(rows, **FEW).low


def test_an_interval_covers():
    """Of 60 samples with one known effect, about 3 intervals of 95 % miss it; none reaches 0."""
    missed = 0
    for seed in range(60):
        rows = table(items=40, words=40, noise=0.05, seed=seed, layers=(3,), controls=False)
        found = effect(rows, by="sr", one=1, other=0.5, n_boot=300)
        missed += not found.low <= -0.16 <= found.high
        assert found.high < 0
    assert 0 < missed <= 9


def test_any_kind_of_table():
    import pandas as pd
    import pyarrow as pa

    rows = table()
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    arrays = {name: np.array(values) for name, values in columns.items()}
    wanted = dose_slope(rows, **FEW)
    for source in (columns, arrays, pa.table(columns), pd.DataFrame(columns), as_scores(rows)):
        assert dose_slope(source, **FEW) == wanted
    assert len(as_scores(rows)) == len(rows)
    assert as_scores(rows).layers() == (0, 3)


# --- bad input -----------------------------------------------------------------------------------------


def changed(**values):
    rows = table(items=31, words=31, layers=(3,))
    rows[5] = rows[5] | values
    return rows


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([], "expected a table or rows"),
        (3, "expected a table or rows of scores, got int"),
        ({name: [] for name in COLUMNS}, "has no rows"),
        ([{"item": 1}], "lacks word, sr, realised, ci, arm, layer, cos, n_pieces"),
        ({name: [1, 2] for name in COLUMNS} | {"word": ["w"]}, "column 'word' has 1 rows and column 'item' 2"),
        (changed(sr=1.5), "row 5: sr must be from 0 to 1, got 1.5"),
        (changed(ci=float("nan")), "column 'ci' must be finite"),
        (changed(realised=-0.1), "row 5: realised"),
        (changed(cos=1.1), "row 5: cos must be from -1 to 1"),
        (changed(cos=None), "column 'cos' must be"),
        (changed(arm="scrambled"), "row 5: arm must be one of scramble, wrong"),
        (changed(layer=0.5), "row 5: layer must be a whole number"),
        (changed(n_pieces=0), "row 5: n_pieces must be a whole number of at least 1"),
        (changed(item=1.5), "row 5: item must be"),
        (changed(item=True), "row 5: item must be"),
        (changed(word=""), "row 5: item must be"),
        (changed(word="other"), "row 5: item 't0' has the word 'other' and before it 'w0'"),
        (changed(sr=0.75), "item 't0' has no row of arm 'scramble' at sr"),
    ],
)  # fmt: skip
def test_bad_tables(source, says):
    with pytest.raises(InputError, match=says):
        variance_shares(source)


GOOD = table(items=31, words=31, layers=(3,))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: effect(GOOD, by="arm", one=1, other=0), "by must be one of sr, ci"),
        (lambda: effect(GOOD, by="sr", one=1, other=1.0), "must differ"),
        (lambda: effect(GOOD, by="sr", one=1, other=0.3), "srs: no row has 0.3"),
        (lambda: effect(GOOD, by="sr", one=1, other=0, at=[1, 1]), "none twice"),
        (lambda: effect(GOOD, by="sr", one=1, other=0, at=[]), "at least one level"),
        (lambda: effect(GOOD, by="sr", one=1, other=0, arm="other"), "arm must be one of"),
        (lambda: effect(GOOD, by="sr", one=1, other=0, arm="blank"), "no row of arm 'blank'"),
        (lambda: effect(GOOD, by="sr", one=1, other=0, layer=7), "at layer 7; the layers are"),
        (lambda: effect(GOOD, by="sr", one=1, other=0, layer=-2), "at layer -2"),
        (lambda: effect(GOOD, by="sr", one=1, other=0, n_boot=0), "n_boot"),
        (lambda: effect(GOOD, by="sr", one=1, other=0, level=1), "level must be between 0 and 1"),
        (lambda: dose_slope(GOOD, srs=[0.5]), "two realised doses"),
        (lambda: rescaled_slope(GOOD, srs=[0.5]), "two realised doses above 0"),
        (lambda: rescaled_by_dose(GOOD, srs=[0, 0.5]), "R at dose 0 is 1"),
        (lambda: rescaled_by_dose(GOOD, srs=[]), "at least one dose"),
        (lambda: rescaled_by_dose([r for r in GOOD if not r["sr"]]), "no dose above 0"),
        (lambda: rescaled_by_dose([r for r in GOOD if r["arm"] != "segment"]), "no row of arm 'segment'"),
        (lambda: zero_dose(GOOD, level=0), "level must be"),
        (lambda: zero_dose(GOOD, n_boot=0), "n_boot"),
        (lambda: variance_shares([r | {"cos": 0.5} for r in GOOD]), "all scores are equal"),
        (lambda: context_over_form([r | {"cos": 0.5} for r in GOOD]), "same mean score"),
    ],
)  # fmt: skip
def test_bad_arguments(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_a_ceiling_under_its_floor():
    rows = [row | {"cos": 0.6} if row["arm"] == "segment" and row["sr"] == 1 else row for row in GOOD]
    for call in (zero_dose, rescaled_slope):
        with pytest.raises(
            InputError, match=r"at sr 1 the intact word so cut scores 0.6 and a wrong word 0.7"
        ):
            call(rows)
    assert math.isnan(rescaled_by_dose(rows)[-1].rescaled)
    # above its floor in all and below it in many resamples
    wide = []
    for row in GOOD:
        if row["arm"] == "segment":
            row = row | {"cos": 1.0 if row["item"] == "t0" else 0.695}
        wide.append(row)
    for call in (zero_dose, rescaled_slope):
        with pytest.raises(UndecidedError, match="not defined on some resample"):
            call(wide, **FEW)


def test_too_few_words():
    rows = table(items=60, words=29)
    for call in (zero_dose, rescaled_slope, dose_slope, context_over_form):
        with pytest.raises(UndecidedError, match="at least 30"):
            call(rows)
    assert variance_shares(rows).sr > 0.9
