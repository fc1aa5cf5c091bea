"""Verdicts against hand-computed cases: margins, conjunction, Holm, equivalence, exactness, gates, units."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.claims.model import Claim, Clause, Gate, Observation
from firsthand.claims.verdict import _holm, distinct_seeds, judge, judge_clause
from firsthand.errors import CheckError


def paired(effects, clause="c", control=0.0, **fields):
    """Observations whose per-seed differences are `effects`."""
    rows = []
    for seed, effect in enumerate(effects):
        base = control + seed  # what both arms share cancels
        rows.append(Observation(clause=clause, arm="treatment", seed=seed, value=base + effect, **fields))
        rows.append(Observation(clause=clause, arm="control", seed=seed, value=base, **fields))
    return rows


def claim(*clauses, id="claim", primary=True, **fields):
    return Claim(id=id, sentence="It helps.", clauses=clauses, primary=primary, **fields)


GREATER = Clause(id="c", kind="greater")
# mean 2, half-width 4.302653/√3 = 2.484
SPREAD = [1.0, 2.0, 3.0]
TIGHT = [1.9, 2.0, 2.1]  # half-width 0.2484


@pytest.mark.parametrize(
    ("kind", "margin", "effects", "verdict"),
    [
        ("greater", 0.0, TIGHT, "holds"),
        ("greater", 1.7, TIGHT, "holds"),
        ("greater", 1.8, TIGHT, "inconclusive"),
        ("greater", 2.3, TIGHT, "fails"),
        ("greater", 0.0, SPREAD, "inconclusive"),
        ("less", 0.0, TIGHT, "fails"),
        ("less", 2.3, TIGHT, "holds"),
        ("less", 0.0, [-x for x in TIGHT], "holds"),
        ("equivalent", 2.3, TIGHT, "holds"),
        ("equivalent", 2.1, TIGHT, "inconclusive"),
        ("equivalent", 1.0, TIGHT, "fails"),
        ("equivalent", 1.0, [-x for x in TIGHT], "fails"),
        ("equivalent", 1.0, [-1.0, 0.0, 1.0], "inconclusive"),  # contains 0: that shows nothing
    ],
)
def test_margins(kind, margin, effects, verdict):
    result = judge_clause(Clause(id="c", kind=kind, margin=margin), paired(effects))
    assert result.verdict == verdict
    assert bool(result.reason) == (verdict == "inconclusive")


def test_interval_by_hand():
    interval = judge_clause(GREATER, paired(SPREAD)).interval
    assert (interval.estimate, interval.n, interval.method) == (2.0, 3, "t")
    assert interval.high == pytest.approx(2 + 2.48414, abs=1e-4)


def test_too_wide_prints_half_width_and_units_needed():
    reason = judge_clause(GREATER, paired(SPREAD)).reason
    assert "±2.48" in reason
    assert "4 independent units" in reason  # t(3)·1/√4 = 1.59 < 2


def test_absolute_compares_one_arm():
    rows = [Observation(clause="c", arm="treatment", seed=s, value=v) for s, v in enumerate([5.0, 5.1, 4.9])]
    assert judge_clause(Clause(id="c", kind="absolute", margin=4.0), rows).verdict == "holds"
    assert (
        judge_clause(Clause(id="c", kind="absolute", margin=4.0, direction="less"), rows).verdict == "fails"
    )


def test_ratio_is_the_geometric_mean_of_unit_ratios_and_totals_stand_beside_it():
    rows = []
    for seed, (treatment, control) in enumerate([(2.0, 1.0), (8.0, 2.0), (4.0, 4.0)]):
        rows.append(Observation(clause="c", arm="treatment", seed=seed, value=treatment))
        rows.append(Observation(clause="c", arm="control", seed=seed, value=control))
    result = judge_clause(Clause(id="c", kind="greater", ratio=True, margin=1.0), rows)
    assert result.interval.estimate == pytest.approx(2.0)  # (2·4·1)^(1/3)
    assert result.ratio_of_totals == pytest.approx(2.0)
    assert result.units == pytest.approx((2.0, 4.0, 1.0))
    half = 4.302653 * math.log(2) / math.sqrt(3)  # logs are ln2·(1, 2, 0): s = ln2
    assert result.interval.high == pytest.approx(2 * math.exp(half), rel=1e-5)


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_a_ratio_with_a_value_that_is_not_positive_raises(bad):
    rows = paired([1.0, 2.0, 3.0], control=1.0)
    rows[0] = rows[0].model_copy(update={"value": bad})
    with pytest.raises(CheckError, match="positive"):
        judge_clause(Clause(id="c", kind="greater", ratio=True, margin=1.0), rows)


def test_timing_repeats_are_reduced_to_a_median_and_others_to_a_mean():
    def rows(repeat):
        return [
            Observation(clause="c", arm="treatment", seed=seed, value=value + seed, repeat=repeat)
            for seed in range(3)
            for value in (1.0, 1.0, 10.0)
        ]

    clause = Clause(id="c", kind="absolute")
    assert judge_clause(clause, rows("timed")).interval.estimate == pytest.approx(2.0)
    assert judge_clause(clause, rows("seeded")).interval.estimate == pytest.approx(5.0)


def test_items_below_the_seed_are_averaged_first():
    rows = [
        Observation(clause="c", arm=arm, seed=seed, item=str(item), value=seed + item * (arm == "treatment"))
        for seed in range(3)
        for item in range(20)
        for arm in ("treatment", "control")
    ]
    assert judge_clause(GREATER, rows).interval is not None
    assert judge_clause(GREATER, rows).interval.n == 3


def test_units_that_are_items_and_clusters():
    rng = np.random.default_rng(0)
    rows = [
        Observation(clause="c", arm=arm, seed=0, item=f"{k}-{i}", cluster=f"k{k}", value=v)
        for k in range(12)
        for i in range(5)
        for arm, v in (("treatment", 1 + rng.normal()), ("control", rng.normal()))
    ]
    assert judge_clause(GREATER, rows, unit="item").interval.n == 60
    assert judge_clause(GREATER, rows, unit="cluster").interval.n == 12
    with pytest.raises(CheckError, match="names none"):
        judge_clause(GREATER, paired(TIGHT), unit="item")


def test_arms_on_different_units_raise():
    rows = paired(TIGHT)[:-1]
    with pytest.raises(CheckError, match="not measured on the same units"):
        judge_clause(GREATER, rows)


def test_proportion_of_items_uses_wilson_and_needs_no_variation():
    rows = [Observation(clause="c", arm="treatment", seed=0, item=str(i), value=1.0) for i in range(100)]
    clause = Clause(id="c", kind="absolute", margin=0.95, statistic="proportion")
    result = judge_clause(clause, rows, unit="item")
    assert result.interval.method == "Wilson"
    assert result.verdict == "holds"


def test_statistics_that_are_not_means():
    rng = np.random.default_rng(1)
    rows = [
        Observation(
            clause="c", arm="treatment", seed=s, item=str(i), value=rng.normal() + 2 * (i % 2), x=float(i % 2)
        )
        for s in range(5)
        for i in range(200)
    ]
    clause = Clause(id="c", kind="absolute", margin=0.8, statistic="auc")
    per_seed = judge_clause(clause, rows)
    assert (per_seed.verdict, per_seed.interval.n) == ("holds", 5)
    one_seed = [o for o in rows if o.seed == 0]
    by_item = judge_clause(clause, one_seed, unit="item")
    assert by_item.interval.method == "BCa bootstrap"
    assert by_item.interval.low < 0.92 < by_item.interval.high + 0.1
    with pytest.raises(CheckError, match="unknown statistic"):
        judge_clause(clause.model_copy(update={"statistic": "magic"}), rows)


@pytest.mark.parametrize(
    ("n", "mismatches", "verdict"),
    [(300, 0, "holds"), (299, 0, "inconclusive"), (1000, 1, "fails"), (0, 0, "inconclusive")],
)
def test_exact(n, mismatches, verdict):
    rows = [
        Observation(clause="c", arm="treatment", seed=0, item=str(i), value=float(i >= mismatches))
        for i in range(n)
    ]
    result = judge([claim(Clause(id="c", kind="exact"))], rows)[0]
    assert result.verdict == verdict
    if verdict == "holds":
        assert result.clauses[0].mismatch_bound == pytest.approx(0.009936, rel=1e-3)


def test_no_variation_is_inconclusive():
    result = judge([claim(GREATER)], paired([0.0, 0.0, 0.0, 0.0]))[0]
    assert result.verdict == "inconclusive"
    assert "no variation" in result.reason


def test_identical_seeds_count_once():
    rows = [
        Observation(clause="c", arm=arm, seed=seed, value=value)
        for seed in range(6)
        for arm, value in (("treatment", 2.0 + (seed == 5)), ("control", 1.0))
    ]
    assert {o.seed for o in distinct_seeds(rows)} == {0, 5}
    assert "2 independent seeds" in judge([claim(GREATER)], rows)[0].reason
    timed = [o.model_copy(update={"repeat": "timed"}) for o in rows]
    assert len(distinct_seeds(timed)) == len(rows)


def test_all_of_needs_every_clause_and_fails_at_five_percent_over_k():
    a, b = Clause(id="a", kind="greater"), Clause(id="b", kind="greater")
    both = claim(a, b, combine="all of")
    rows = paired(TIGHT, "a") + paired(TIGHT, "b")
    assert judge([both], rows)[0].verdict == "holds"
    rows = paired(TIGHT, "a") + paired(SPREAD, "b")
    assert judge([both], rows)[0].verdict == "inconclusive"
    rows = paired(TIGHT, "a") + paired([-x for x in TIGHT], "b")
    assert judge([both], rows)[0].verdict == "fails"
    # p of "b fails" lies between 2.5 % and 5 %: not enough for one of two clauses
    near = [-x for x in (0.6, 2.0, 2.6, 1.2)]
    alone = judge_clause(b, paired(near, "b"))
    assert 0.025 < alone.p_fails < 0.05
    assert alone.verdict == "fails"
    assert judge([both], paired([1.9, 2.0, 2.1, 2.0], "a") + paired(near, "b"))[0].verdict == "inconclusive"


def test_any_of_holds_after_holm_over_its_cells():
    a, b = Clause(id="a", kind="greater"), Clause(id="b", kind="greater")
    either = claim(a, b, combine="any of")
    assert judge([either], paired(TIGHT, "a") + paired([-x for x in TIGHT], "b"))[0].verdict == "holds"
    down = [-x for x in TIGHT]
    assert judge([either], paired(down, "a") + paired(down, "b"))[0].verdict == "fails"
    near = (0.6, 2.0, 2.6, 1.2)
    rows = paired(near, "a") + paired([-1.0, 1.0, -2.0, 1.5], "b")
    assert judge_clause(a, rows).verdict == "holds"
    assert judge([either], rows)[0].verdict == "inconclusive"


def test_holm_by_hand():
    # 0.01 ≤ 5 %/4; 0.015 ≤ 5 %/3; 0.03 > 5 %/2 stops the rest
    assert _holm([0.03, 0.01, 0.04, 0.015]) == pytest.approx([0.025, 0.0125, 0.025, 0.05 / 3])


def test_secondaries_are_corrected_and_the_primary_is_not():
    near = [0.6, 2.0, 2.6, 1.2]  # p about 0.04
    claims = [claim(Clause(id=f"c{i}", kind="greater"), id=f"claim-{i}", primary=i == 0) for i in range(3)]
    rows = [row for i in range(3) for row in paired(near, f"c{i}")]
    verdicts = judge(claims, rows)
    assert [v.verdict for v in verdicts] == ["holds", "inconclusive", "inconclusive"]
    assert verdicts[0].alpha == 0.05
    assert verdicts[1].alpha == pytest.approx(0.025)
    assert "Holm" in verdicts[1].reason


def test_a_closed_gate_wins_over_the_interval():
    gate = Gate(name="machine idle", passed=False, detail="load 7", claims=("claim",))
    other = claim(Clause(id="d", kind="greater"), id="other", primary=False)
    rows = paired(TIGHT) + paired(TIGHT, "d")
    first, second = judge([claim(GREATER), other], rows, gates=[gate])
    assert first.verdict == "inconclusive"
    assert "failed gate: machine idle (load 7)" in first.reason
    assert second.verdict == "holds"


def test_what_is_not_measured_is_listed_with_its_reason():
    listed = Claim(id="online", sentence="Watch time rises.", measured=False, reason="an online A/B test")
    result = judge([claim(GREATER), listed], paired(TIGHT))[1]
    assert result.verdict is None
    assert result.reason == "an online A/B test"


def test_false_holds_under_the_null_stay_below_two_and_a_half_percent():
    rng = np.random.default_rng(7)
    repeats, held = 3_000, 0
    from firsthand.claims.intervals import t_estimate

    for _ in range(repeats):
        low, _ = t_estimate(rng.normal(0, 1, 5)).interval(0.95)
        held += low > 0
    error = math.sqrt(0.025 * 0.975 / repeats)
    assert held / repeats <= 0.025 + 3 * error


def test_false_holds_of_the_whole_judgement():
    """The same through observations, clauses and Holm: any of three secondaries holding is rare too."""
    rng = np.random.default_rng(11)
    claims = [claim(Clause(id=f"c{i}", kind="greater"), id=f"claim-{i}", primary=i == 0) for i in range(4)]
    repeats, first, any_secondary = 400, 0, 0
    for _ in range(repeats):
        rows = [row for i in range(4) for row in paired(rng.normal(0, 1, 5), f"c{i}")]
        verdicts = [v.verdict for v in judge(claims, rows)]
        first += verdicts[0] == "holds"
        any_secondary += "holds" in verdicts[1:]
    error = math.sqrt(0.025 * 0.975 / repeats)
    assert first / repeats <= 0.025 + 3 * error
    assert any_secondary / repeats <= 0.025 + 3 * error


@given(
    st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=3, max_size=8).filter(
        lambda x: np.ptp(x) > 1e-2
    ),
    st.floats(-5, 5).map(lambda x: round(x, 2)),
)
def test_swapping_the_arms_never_leaves_a_held_claim_held(effects, margin):
    clause = Clause(id="c", kind="greater", margin=abs(margin))
    rows = paired(effects)
    swapped = [
        o.model_copy(update={"arm": {"treatment": "control", "control": "treatment"}[o.arm]}) for o in rows
    ]
    forward, backward = judge_clause(clause, rows), judge_clause(clause, swapped)
    assert not (forward.verdict == backward.verdict == "holds")
    assert forward.interval.estimate == pytest.approx(-backward.interval.estimate, abs=1e-6)


@given(st.permutations(range(8)))
def test_order_of_observations_does_not_matter(order):
    rows = paired([*SPREAD, 2.5])
    assert judge_clause(GREATER, rows) == judge_clause(GREATER, [rows[i] for i in order])


# --- copies, names and repeats ------------------------------------------------------------------------


def test_a_copy_is_a_copy_in_every_clause_and_times_are_never():
    fixed = [
        Observation(clause="fixed", arm="treatment", seed=s, item=str(i), value=float(i))
        for s in range(5)
        for i in range(3)
    ]
    varied = [Observation(clause="varied", arm="treatment", seed=s, value=float(s)) for s in range(5)]
    timed = [
        Observation(clause="timed", arm="treatment", seed=s, value=1.0, repeat="timed") for s in range(5)
    ]
    # a clause with a timed arm beside a computed one: the seeds are five draws of it
    mixed = [
        Observation(clause="mixed", arm=arm, seed=s, value=1.0, repeat=repeat)
        for s in range(5)
        for arm, repeat in (("treatment", "timed"), ("control", "exact"))
    ]
    kept = distinct_seeds(fixed + timed + mixed)
    assert [o for o in kept if o.clause == "fixed"] == fixed[:3]
    assert [o for o in kept if o.clause != "fixed"] == timed + mixed
    everything = fixed + timed + mixed + varied
    assert distinct_seeds(everything) == tuple(everything)


def test_a_clause_of_few_values_keeps_seeds_that_agree_by_chance():
    rank = Clause(id="rank", kind="absolute", margin=0.0, treatment="t")
    ranks = [
        Observation(clause="rank", arm="t", seed=s, value=v) for s, v in enumerate((0.5, 1.0, 0.5, 1.0, 0.9))
    ]
    rows = ranks + paired([0.1, 0.2, 0.3, 0.4, 0.5])
    found = {
        result.claim.clauses[0].id: result
        for result in judge([claim(rank), claim(GREATER, id="other", primary=False)], rows)
    }
    assert found["rank"].clauses[0].interval.n == 5
    assert found["rank"].clauses[0].units == (0.5, 1.0, 0.5, 1.0, 0.9)
    copy = [o.model_copy(update={"seed": 5}) for o in rows if o.seed == 2]
    again = judge([claim(rank), claim(GREATER, id="other", primary=False)], rows + copy)
    assert [result.clauses[0].interval.n for result in again] == [5, 5]


def test_a_copy_is_a_copy_in_any_order():
    rows = [
        Observation(clause="c", arm="treatment", seed=s, item=str(i), value=float(i))
        for s in range(2)
        for i in (range(3) if s == 0 else reversed(range(3)))
    ]
    assert distinct_seeds(rows) == tuple(rows[:3])


def agreement(seeds, items, name=lambda seed, item: f"{item}"):
    return [
        Observation(clause="c", arm="treatment", seed=s, item=name(s, i), value=1.0, repeat="exact")
        for s in range(seeds)
        for i in range(items)
    ]


def test_exact_items_that_are_fixed_over_seeds_count_once():
    exact = claim(Clause(id="c", kind="exact"))
    other = claim(Clause(id="d", kind="greater"), id="other", primary=False)
    rows = agreement(5, 100) + paired(TIGHT, "d")  # what other clauses did must not make the seeds distinct
    result = judge([exact, other], rows)[0]
    assert result.verdict == "inconclusive"
    assert "all 100 observations" in result.reason
    rows = agreement(5, 100, lambda seed, item: f"{seed}/{item}")
    assert "all 500 observations" in judge([exact], rows)[0].reason
    assert "all 200 observations" in judge([exact], agreement(1, 200) * 2)[0].reason


def test_an_exact_observation_names_its_item():
    with pytest.raises(CheckError, match="names its item"):
        judge_clause(Clause(id="c", kind="exact"), agreement(1, 300, lambda seed, item: ""))


@pytest.mark.parametrize("statistic", ["auc", "spearman", "slope", "quantile:0.5", "own"])
@pytest.mark.parametrize("repeat", ["seeded", "timed"])
def test_items_without_names_are_no_repeats_where_the_statistic_is_no_mean(statistic, repeat):
    rng = np.random.default_rng(3)
    rows = [
        Observation(clause="c", arm="treatment", seed=s, value=rng.normal(), x=float(i % 2), repeat=repeat)
        for s in range(4)
        for i in range(6)
    ]
    own = {"own": lambda values, _: float(values.max())}
    clause = Clause(id="c", kind="absolute", statistic=statistic)
    with pytest.raises(CheckError, match="without an item name"):
        judge_clause(clause, rows, statistics=own)
    named = [o.model_copy(update={"item": str(i)}) for i, o in enumerate(rows)]
    assert judge_clause(clause, named, statistics=own).interval.n == 4
    assert judge_clause(clause.model_copy(update={"statistic": "mean"}), rows).interval.n == 4


def test_unknown_clauses_and_claims_are_errors():
    listed = Claim(
        id="online",
        sentence="It rises.",
        measured=False,
        reason="an A/B test",
        clauses=(Clause(id="o", kind="greater"),),
    )
    claims = [claim(GREATER), listed]
    with pytest.raises(CheckError, match="'misspelt'"):
        judge(claims, paired(TIGHT) + paired(TIGHT, "misspelt"))
    with pytest.raises(CheckError, match="'o'"):
        judge(claims, paired(TIGHT) + paired(TIGHT, "o"))
    with pytest.raises(CheckError, match="'misspelt'"):
        judge(claims, paired(TIGHT), gates=[Gate(name="idle", passed=True, claims=("claim", "misspelt"))])
    gate = Gate(name="idle", passed=True, claims=("online",))
    assert judge(claims, paired(TIGHT), gates=[gate])[0].verdict == "holds"


# --- what decides nothing -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_rounding_is_no_variation(scale):
    rows = [
        Observation(clause="c", arm=arm, seed=s, value=scale * math.exp(s / 2) + effect)
        for s in range(5)
        for arm, effect in (("treatment", scale / 3), ("control", 0.0))
    ]
    effects = {t.value - c.value for t, c in zip(rows[::2], rows[1::2], strict=True)}
    assert len(effects) > 1  # they cancel up to the last bits only
    result = judge_clause(GREATER, rows)
    assert result.verdict == "inconclusive"
    assert "no variation" in result.reason


def test_a_small_variation_of_a_ratio_of_large_values_is_variation():
    rows = [
        Observation(clause="c", arm=arm, seed=s, value=value)
        for s, r in enumerate((1.0100, 1.0101, 1.0102))
        for arm, value in (("treatment", 1e9 * r), ("control", 1e9))
    ]
    assert judge_clause(Clause(id="c", kind="greater", ratio=True, margin=1.0), rows).verdict == "holds"


def items(values, clause="c", arm="treatment", x=None, seed=0):
    return [
        Observation(
            clause=clause, arm=arm, seed=seed, item=f"{i:03}", value=float(v), x=None if x is None else x[i]
        )
        for i, v in enumerate(values)
    ]


def test_a_bootstrap_whose_resamples_all_agree_shows_no_variation():
    clause = Clause(id="c", kind="absolute", margin=0.5, statistic="quantile:0.5")
    result = judge_clause(clause, items([1.0] * 40), unit="item")
    assert result.verdict == "inconclusive"
    assert "no variation" in result.reason
    assert result.interval.method == "BCa bootstrap"


def test_an_outlier_leaves_the_verdict_and_its_p_undecided():
    values = [*np.random.default_rng(0).normal(0, 0.01, 29), 30.0]
    clause = Clause(id="c", kind="absolute", direction="less", margin=1.5, statistic="average")
    result = judge(
        [claim(clause, unit_of_analysis="item")], items(values), statistics={"average": lambda v, _: v.mean()}
    )[0]
    assert result.verdict == "inconclusive"
    assert result.clauses[0].p_holds > 0.05


UNDECIDED = {
    "few clusters": ("quantile:0.5", items(range(29)), "at least 30"),
    "a class runs empty": ("auc", items(range(40), x=[1.0] + [0.0] * 39), "not defined on some resample"),
    "one class": ("auc", items(range(40), x=[1.0] * 40), "both labels"),
    "labels missing": ("auc", items(range(40)), "0 or 1"),
    "x missing": ("slope", items(range(40)), "needs a second coordinate"),
    "x constant": ("slope", items(range(40), x=[0.1] * 40), "same x"),
    "ranks of constant x": ("spearman", items(range(40), x=[0.1] * 40), "same x"),
    "ranks of constant values": ("spearman", items([1.0] * 40, x=list(range(40))), "all values are equal"),
    "own statistic undefined": ("nothing", items(range(40)), "not defined"),
    "averaged proportion": ("proportion", items([0, 1] * 20) + items([1, 1] * 20, seed=1), "averaged"),
}


@pytest.mark.parametrize("case", UNDECIDED)
@pytest.mark.filterwarnings("error")
def test_what_cannot_be_judged_is_inconclusive_and_the_card_goes_on(case):
    statistic, rows, reason = UNDECIDED[case]
    clause = Clause(id="c", kind="absolute", margin=0.5, statistic=statistic)
    claims = [
        claim(clause, unit_of_analysis="item"),
        claim(Clause(id="d", kind="greater"), id="other", primary=False),
    ]
    first, second = judge(claims, rows + paired(TIGHT, "d"), statistics={"nothing": lambda *_: math.nan})
    assert (first.verdict, second.verdict) == ("inconclusive", "holds")
    assert reason in first.reason
    assert first.clauses[0].interval is None
    assert first.clauses[0].arms["treatment"] == pytest.approx(np.mean([o.value for o in rows]))


def test_an_undefined_statistic_of_one_seed_names_it():
    rows = [row for s in range(3) for row in items(range(5), x=[0.0] * 5 if s == 1 else range(5), seed=s)]
    rows = [o.model_copy(update={"value": o.value * (1 + o.seed)}) for o in rows]
    result = judge_clause(Clause(id="c", kind="absolute", statistic="slope"), rows)
    assert result.verdict == "inconclusive"
    assert result.reason.startswith("seed 1: a slope")


def test_misuse_still_raises():
    def absolute(**fields):
        return Clause(id="c", kind="absolute", **fields)

    with pytest.raises(CheckError, match="positive"):  # on the whole sample, before any resample
        judge_clause(
            absolute(statistic="quantile:0.5", ratio=True, margin=1), items(range(-20, 20)), unit="item"
        )
    with pytest.raises(CheckError, match="positive"):  # with too few units, too
        judge_clause(absolute(ratio=True, margin=1), items([0.0]))
    with pytest.raises(CheckError, match="unknown statistic"):
        judge_clause(absolute(statistic="magic"), items([0.0]))
    with pytest.raises(CheckError, match=r"0 and 1, not 0\.5"):
        judge_clause(absolute(statistic="proportion"), items([0.0, 0.5, 1.0]), unit="item")


def test_a_ratio_that_is_not_positive_on_some_resample_only_is_undecided():
    rng = np.random.default_rng(0)
    rows = items(rng.normal(0.5, 1, 40))
    clause = Clause(id="c", kind="absolute", statistic="middle", ratio=True, margin=0.1)
    result = judge_clause(clause, rows, unit="item", statistics={"middle": lambda v, _: float(np.median(v))})
    assert result.verdict == "inconclusive"
    assert "not defined on some resample" in result.reason


@pytest.mark.parametrize(
    "name", ["quantile:x", "quantile:95", "quantile:", "quantile:nan", "quantile:-0.1", " "]
)
def test_a_statistics_name_is_checked_with_the_card(name):
    with pytest.raises(ValueError, match="statistic"):
        Clause(id="c", kind="greater", statistic=name)


@pytest.mark.parametrize("name", ["quantile:0", "quantile:0.95", "quantile:1", "frechet", "auc", "hits:10"])
def test_names_of_the_checks_own_statistics_are_allowed(name):
    assert Clause(id="c", kind="greater", statistic=name).statistic == name


@pytest.mark.parametrize("power", [300, -300])
def test_an_extreme_ratio_does_not_overflow(power):
    rows = [
        Observation(clause="c", arm=arm, seed=s, value=value)
        for s, spread in enumerate((1.0, 1e5, 1e-5))
        for arm, value in (("treatment", 10.0**power * spread), ("control", 10.0**-power))
    ]
    result = judge_clause(Clause(id="c", kind="greater", ratio=True, margin=1.0), rows)
    assert result.verdict == ("holds" if power > 0 else "fails")
    assert all(math.isfinite(value) for value in (result.interval.low, result.interval.high, *result.units))


# --- reasons ------------------------------------------------------------------------------------------


def test_any_of_names_only_the_clauses_that_held():
    same, up, none = (
        Clause(id="same", kind="exact"),
        Clause(id="up", kind="greater"),
        Clause(id="none", kind="greater"),
    )
    agree = [o.model_copy(update={"clause": "same"}) for o in agreement(1, 300)]
    short = agree[:299]
    either = claim(same, up, none, combine="any of")
    two_seeds = paired([1.0, 2.0], "none")  # no interval, so no p
    assert judge([either], short + paired(TIGHT, "up") + two_seeds)[0].reason == "in up"
    assert judge([either], agree + paired(SPREAD, "up") + two_seeds)[0].reason == "in same"
    twin = Clause(id="twin", kind="exact")
    broken = [o.model_copy(update={"clause": "twin", "value": 0.0}) for o in agree]
    result = judge([claim(same, twin, combine="any of")], agree + broken)[0]
    assert (result.verdict, result.reason) == ("holds", "in same")


@pytest.mark.parametrize(
    ("combine", "words", "verdict"),
    [
        ("any of", ("fails", "fails"), "fails"),
        ("any of", ("fails", "short"), "inconclusive"),
        ("all of", ("holds", "holds"), "holds"),
        ("all of", ("holds", "short"), "inconclusive"),
        ("all of", ("holds", "fails"), "fails"),
    ],
)
def test_exact_clauses_combine_without_a_test(combine, words, verdict):
    rows = []
    for id, word in zip("ab", words, strict=True):
        found = agreement(1, 10 if word == "short" else 300)
        rows += [o.model_copy(update={"clause": id, "value": float(word != "fails")}) for o in found]
    both = claim(*(Clause(id=id, kind="exact") for id in "ab"), combine=combine)
    assert judge([both], rows)[0].verdict == verdict


@pytest.mark.parametrize(("margin", "needed"), [(0.95, "about 73 independent"), (1.0, "would not decide")])
def test_a_proportion_too_wide_counts_the_items_that_wilson_needs(margin, needed):
    clause = Clause(id="c", kind="absolute", margin=margin, statistic="proportion")
    result = judge_clause(clause, items([1.0] * 10), unit="item")
    assert result.verdict == "inconclusive"
    assert needed in result.reason
