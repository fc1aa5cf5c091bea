"""The experiment is fair: nothing is on two sides, arms are equal, the null's arms are the control's."""

from itertools import combinations

import numpy as np
import pytest

from firsthand.catalogue.rooms import find_room
from firsthand.claims.run import run_check
from firsthand.claims.verdict import judge
from firsthand.data.preselect import check
from firsthand.data.preselect.scales import FRACTION, SIZES
from firsthand.data.preselect.world import BOILERPLATE_POOL, POOL, Reference, World, hold_out
from firsthand.errors import InputError
from firsthand.launch import single_thread


@pytest.fixture(scope="module")
def world():
    with single_thread():
        return World(5, SIZES["smoke"])


@pytest.fixture(scope="module")
def measurement():
    with single_thread():
        return check.measure(5, "smoke")


def long_lines(texts):
    return {line.strip() for text in texts for line in text.splitlines() if len(line.strip()) >= 40}


def test_benchmark_reference_texts_and_pools_are_disjoint(world):
    read = [text for found in world.to_read.values() for text in found]
    pool = [text for found in world.to_pool.values() for text in found]
    sides = [set(world.for_ability), set(world.for_report), set(read), set(pool)]
    for one, other in combinations(sides, 2):
        assert one
        assert not one & other


def test_the_benchmark_shares_no_long_line_with_anything_that_is_read(world):
    read = [text for side in (world.to_read, world.to_pool) for found in side.values() for text in found]
    assert not long_lines(world.for_report) & long_lines(read)
    assert not long_lines(world.for_ability) & long_lines(read)
    assert not long_lines(world.for_ability) & long_lines(world.for_report)


def test_hold_out_leaves_texts_with_shared_lines_to_be_read():
    line = "a line of at least forty characters, shared by two"
    texts = {"prose": [f"one\n{line}", f"two\n{line}", "three", "four"], "code": [f"{line}\ncode"]}
    held, rest = hold_out(texts, "prose", 2)
    assert held == ["three", "four"]
    assert rest["prose"] == texts["prose"][:2]
    assert rest["code"] == texts["code"]
    with pytest.raises(InputError, match="only 2 texts"):
        hold_out(texts, "prose", 3)


def test_hold_out_counts_a_line_that_only_the_other_kind_shares():
    line = "def a_function_with_a_rather_long_name(argument):"
    texts = {"prose": [line, "two"], "code": [f"{line}\n    pass"]}
    assert hold_out(texts, "prose", 1)[0] == ["two"]


def test_the_pool_has_its_shares(world):
    for shares in (POOL, BOILERPLATE_POOL):
        kinds = [text.kind for text in world.pool(shares)]
        assert len(kinds) == world.size.pool
        for kind, share in shares.items():
            assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.01)


def test_arms_have_equal_characters(world):
    references = world.diverse_references()
    pool = world.pool(POOL)
    arms, details = check._selections(world, pool, references, ("preselect", *check.CONTROLS))
    total = sum(len(text.text) for text in pool)
    longest = max(len(text.text) for text in pool)
    for texts in arms.values():
        assert 0 <= sum(map(len, texts)) - FRACTION * total <= longest
    assert not set(arms["preselect"]) & set(arms["inverse"])
    assert set(details["share of kinds"]) == set(arms)


def test_students_read_as_many_tokens_whatever_the_text(world, monkeypatch):
    import firsthand.lm

    steps = []
    real = firsthand.lm.train

    def counting(model, tokens, **options):
        steps.append(options["steps"])
        return real(model, tokens, **options)

    monkeypatch.setattr(firsthand.lm, "train", counting)
    world.student(["plain words, again and again. " * 40])
    world.student(["0x00 9f 3c a1 77 " * 60])
    assert steps[0] == steps[1]


def test_observations_answer_the_cards_clauses(measurement):
    claims = find_room("preselect").card.claims
    clauses = {clause.id: clause for claim in claims for clause in claim.clauses}
    seen = {(o.clause, o.arm) for o in measurement.observations}
    assert seen == {(c.id, arm) for c in clauses.values() for arm in (c.treatment, c.control)}
    assert set(check.CLAIMS) == {claim.id for claim in claims if claim.measured}
    assert {o.repeat for o in measurement.observations} == {"seeded"}
    assert len(set(measurement.candidates.values())) == 1


def test_students_of_one_arm_are_the_same_and_another_number_is_another_student(world):
    texts = world.to_pool["prose"][:20]
    first, second, other = world.student(texts), world.student(texts), world.student(texts, number=1)
    assert first == second
    assert first != other


def test_null_puts_the_control_in_both_arms(measurement):
    with single_thread():
        null = check.measure(5, "smoke", null=True)
    controls = {(o.clause, o.arm): o.value for o in measurement.observations if o.arm != "preselect"}
    for observation in null.observations:
        if observation.arm != "preselect":
            assert observation.value == controls[observation.clause, observation.arm]
    treated = {o.clause: o.value for o in null.observations if o.arm == "preselect"}
    assert all(treated[clause] != value for (clause, _), value in controls.items())


def test_ray_gives_the_same_observations(measurement):
    """The way up of the check: one seed on a Ray worker, bit for bit what this process measured."""
    pytest.importorskip("ray")
    record = run_check(find_room("preselect").subject(), "smoke", seeds=[5], engine="ray", jobs=1)
    assert record.engine == "ray"
    assert record.observations == measurement.observations


def test_a_ladder_that_learnt_nothing_closes_the_gate():
    models = [Reference(None, ability) for ability in (0.25, 0.26)]
    assert not check._learned(models, 0.3, "the diverse", ("beats-random",)).passed
    assert check._learned([Reference(None, 0.4)], 0.3, "the diverse", ()).passed
    assert check._learned(models, SIZES["smoke"].least_ability, "the diverse", ()).passed


def test_details_say_which_corpus_a_seed_stood_on(world, measurement):
    hashes = measurement.details["corpus, SHA-256"]
    assert set(hashes) == {"prose", "code"}
    assert all(len(digest) == 64 for digest in hashes.values())
    assert hashes == world.harvested
    assert len(set(hashes.values())) == 2


def test_details_say_what_each_reference_model_read(measurement):
    mixes = measurement.details["mixes of the diverse models"]
    assert len(mixes) == SIZES["smoke"].references == len(measurement.details["selection"]["ability"])
    assert all(sum(mix.values()) == pytest.approx(1) and set(mix) == set(POOL) for mix in mixes)


def test_the_judgement_sees_an_effect_where_there_is_one():
    """The claims' directions, on made-up numbers: PreSelect with fewer bits holds, with more fails."""
    from firsthand.claims import Observation

    claims = find_room("preselect").card.claims
    rng = np.random.default_rng(0)

    def rows(better):
        found = []
        for claim in claims:
            for clause in claim.clauses:
                sign = 1.0 if clause.kind == "greater" else -1.0
                for seed in range(6):
                    shift = sign * (0.3 if better else -0.3)
                    for arm, value in ((clause.treatment, 3 + shift), (clause.control, 3.0)):
                        value += 0.02 * rng.normal()
                        found.append(Observation(clause=clause.id, arm=arm, seed=seed, value=value))
        return found

    assert {r.verdict for r in judge(claims, rows(True)) if r.claim.measured} == {"holds"}
    assert {r.verdict for r in judge(claims, rows(False)) if r.claim.measured} == {"fails"}
