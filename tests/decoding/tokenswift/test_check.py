"""The check: what its figures stand for, and that it measures what it says."""

from __future__ import annotations

import pytest

from firsthand.decoding.tokenswift import Replay, check
from firsthand.decoding.tokenswift.scales import SEEDS, SIZES
from firsthand.decoding.tokenswift.theory import LLAMA_2_7B, LLAMA_3_1_8B, modelled_speedup
from firsthand.errors import InputError


@pytest.fixture(scope="module")
def measured():
    return check.measure(1000, "smoke")


@pytest.mark.parametrize(
    ("model", "alpha", "speeds"),
    [(LLAMA_3_1_8B, 0.84, (2.31, 2.52, 2.78)), (LLAMA_2_7B, 0.90, (2.78, 3.30, 3.72))],
)
def test_bytes_of_the_papers_models(model, alpha, speeds):
    for length, speed in zip((20_000, 50_000, 100_000), speeds, strict=True):
        assert modelled_speedup(1 + 4 * alpha, model, length) == pytest.approx(speed, abs=0.006)


def test_what_the_model_of_bytes_says_at_its_ends():
    # One token a step is never faster than plain decoding; where the cache is all, the draft pass costs nothing.
    assert modelled_speedup(1, LLAMA_3_1_8B, 1000) == pytest.approx(0.5)
    assert modelled_speedup(5, LLAMA_3_1_8B, 10**9) == pytest.approx(5, rel=1e-3)
    for wrong in ((0.5, LLAMA_2_7B, 1), (2, LLAMA_2_7B, -1)):
        with pytest.raises(InputError, match="at least one token"):
            modelled_speedup(*wrong)


def test_the_slope_is_what_a_doubling_adds():
    starts = tuple(range(64, 4096, 2))
    rising = Replay(starts, tuple(2 if start >= 512 else 1 for start in starts), 4)
    assert 0.03 < check.slope(rising, 64) < 0.25
    assert check.slope(Replay(starts, (1,) * len(starts), 4), 64) == pytest.approx(0, abs=1e-12)
    exact = Replay((64, 128, 256, 512), (0, 1, 2, 3), 4)
    assert check.slope(exact, 64) == pytest.approx(0.25)
    assert check.slope(exact, 128) == pytest.approx(0.25)
    assert check.slope(exact, 512) == 0


def test_every_clause_of_the_card_is_measured(measured):
    from firsthand.catalogue.rooms import find_room

    card = find_room("tokenswift").card
    wanted = {
        (clause.id, arm)
        for claim in card.claims
        for clause in claim.clauses
        for arm in (clause.treatment, clause.control)
        if arm
    }
    assert wanted == {(o.clause, o.arm) for o in measured.observations}
    named = {claim for gate in measured.gates for claim in gate.claims}
    assert named <= {claim.id for claim in card.claims}


def test_laptop_judges_at_least_300_exact_texts_and_starts_the_draft_on_part_of_the_cache():
    size = SIZES["laptop"]
    assert SEEDS["laptop"] * size.exact_texts >= 300
    assert size.exact_budget < size.prompt
    assert size.tokens > 4 * size.budget


def test_texts_are_the_same(measured):
    assert all(o.value == 1 for o in measured.observations if o.clause == "same-text")


def test_charts_are_over_all_seeds(measured):
    from firsthand.claims.chart import Chart

    charts = [Chart.model_validate(chart) for chart in check.charts([measured.details] * 2)]
    assert [len(chart.series) for chart in charts] == [3, 1]
    assert len(charts[0].series[0].x) == len(SIZES["smoke"].stretches)
