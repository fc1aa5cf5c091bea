"""The simulated league: the fast arrays are the real scores, τ_b is SciPy's, and the reference run comes out again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from firsthand.claims.intervals import t_estimate
from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.field import (
    CELLS,
    CLEAN,
    RANKINGS,
    Cell,
    attempts_of,
    draw_field,
    leak_study,
    scores_in,
)
from firsthand.evaluation.codearena.scores.points import score
from firsthand.evaluation.codearena.scores.ranks import kendall_tau_b

WIDE = [Cell(0.25, 0.75), Cell(0.5, 0.75)]


@pytest.mark.parametrize("cell", [CLEAN, Cell(0.5, 0.75), Cell(1.0, 1.0)])
def test_scores_are_those_of_the_board(cell):
    field = draw_field(7, models=8, problems=20)
    attempts, problems = attempts_of(field, cell)
    found = scores_in(field, [CLEAN, cell])
    formula, share = score(attempts, problems), score(attempts, problems, challenge="share")
    for number in range(8):
        name = f"m{number:02}"
        assert found["dp"][1, number] == pytest.approx(formula.of(name).dp)
        assert found["cs"][1, number] == pytest.approx(formula.of(name).cs)
        assert found["share"][1, number] == pytest.approx(share.of(name).dp)
        assert found["pass_rate"][1, number] == pytest.approx(formula.of(name).pass_rate)
        solved = [pair.problem for pair in formula.breakdown(name) if pair.solved]
        labels = sum(field.label[int(problem[1:])] for problem in solved)
        assert found["labels"][1, number] == labels


@given(st.lists(st.integers(0, 4), min_size=3, max_size=8), st.randoms(use_true_random=False))
def test_tau_is_scipys(scores, random):
    truth = (
        [random.randrange(4) for _ in scores]
        if random.random() < 0.5
        else random.sample(range(9), len(scores))
    )
    found = kendall_tau_b(np.array([scores, truth], float), np.array(truth, float))
    for tau, other in zip(found, (scores, truth), strict=True):
        assert tau == pytest.approx(kendalltau(other, truth).statistic, nan_ok=True)


def test_a_leak_is_what_it_says():
    field = draw_field(3)
    clean, some, more, every = field.solved_in([CLEAN, Cell(0.25, 0.5), Cell(0.5, 0.75), Cell(1.0, 1.0)])
    assert np.array_equal(clean, field.solved)
    assert (some >= clean).all()
    assert (more >= some).all()
    assert every.all()
    leaked = field.leaks_at < 0.25
    knowing = field.order < 10
    assert some[np.ix_(knowing, leaked)].all()
    assert np.array_equal(some[~knowing], clean[~knowing])
    assert np.array_equal(some[:, ~leaked], clean[:, ~leaked])
    assert 0.15 < leaked.mean() < 0.35


def test_who_knows_does_not_depend_on_ability():
    found = [np.corrcoef(draw_field(seed).ability, draw_field(seed).order)[0, 1] for seed in range(200)]
    estimate = t_estimate(found)
    low, high = estimate.interval(0.999)
    assert low < 0 < high


def test_one_seed_is_one_league_whatever_the_cells():
    alone = leak_study(5, [Cell(0.5, 0.75)])
    among = leak_study(5)
    assert alone[Cell(0.5, 0.75)] == among[Cell(0.5, 0.75)]
    assert set(among) == set(CELLS)
    assert len(CELLS) == 22
    assert all(set(taus) == set(RANKINGS) for taus in among.values())
    assert leak_study(6)[CLEAN] != among[CLEAN]


def study(seeds, cells):
    """τ by cell and ranking, (seeds,) each; seeds as of pilots."""
    found = [leak_study(seed, cells) for seed in range(1000, 1000 + seeds)]
    return {
        cell: {name: np.array([taus[cell][name] for taus in found]) for name in RANKINGS} for cell in cells
    }


def test_reference_run():
    """The sheet's figures are within the 95 % interval of the difference of two such runs."""
    reference = {  # f, g: τ of DP − τ of the pass rate, half width over 40 seeds
        (0.25, 0.10): (-0.005, 0.005),
        (0.25, 0.50): (0.034, 0.007),
        (0.25, 0.75): (0.054, 0.009),
        (0.25, 1.00): (0.003, 0.005),
        (0.50, 0.10): (-0.003, 0.004),
        (0.50, 0.75): (0.111, 0.018),
    }
    found = study(40, [CLEAN, *(Cell(*leak) for leak in reference)])
    for leak, (effect, half) in reference.items():
        taus = found[Cell(*leak)]
        estimate = t_estimate((taus["dp"] - taus["pass_rate"]).tolist())
        low, high = estimate.interval(0.95)
        assert abs(estimate.value - effect) < np.hypot(half, (high - low) / 2), leak
    for ranking in ("dp", "pass_rate"):
        assert found[CLEAN][ranking].mean() == pytest.approx(0.946, abs=0.01)


def test_points_blunt_wide_leaks_only():
    found = study(40, [*WIDE, Cell(0.5, 0.10), Cell(0.5, 0.25)])
    for cell in WIDE:
        low, _ = t_estimate((found[cell]["dp"] - found[cell]["pass_rate"]).tolist()).interval(0.95)
        assert low > 0
    narrow = found[Cell(0.5, 0.10)]
    assert (narrow["cs"] - narrow["pass_rate"]).mean() < 0  # without ES it is worse than the pass rate
    assert (found[Cell(0.5, 0.25)]["share"] - found[Cell(0.5, 0.25)]["pass_rate"]).mean() > 0.02
    assert (found[WIDE[1]]["share"] - found[WIDE[1]]["dp"]).mean() < 0


def test_bad_input():
    with pytest.raises(InputError, match="shares of a leak must be from 0 to 1"):
        Cell(0.5, 1.5)
    with pytest.raises(InputError, match="at least 2 models and 1 problem"):
        draw_field(0, models=1)
    with pytest.raises(InputError, match="no cell to study"):
        leak_study(0, [])
