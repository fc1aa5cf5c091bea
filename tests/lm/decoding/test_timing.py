"""Decoders side by side, and transformers' own generation among them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest

from firsthand.errors import InputError
from firsthand.lm import tiny_llama
from firsthand.lm.decoding import GenerationResult, PlainDecoder, PromptLookup, SerialSpeculation
from firsthand.lm.decoding.huggingface import HFCausalLM
from firsthand.lm.decoding.peers import TransformersGenerate
from firsthand.lm.decoding.timing import (
    Divergence,
    compare_decoders,
    first_divergence,
    seconds_by_option,
    turns,
)
from tests.lm.decoding.models_for_tests import random_ids


class Scripted:
    """Says what it is told to, in the time it is told."""

    def __init__(self, name, calls, wall, tokens=(1, 2, 3)):
        self.name, self.calls, self.wall, self.tokens = name, calls, wall, tokens

    def generate(self, prompt_ids, max_new_tokens):
        self.calls.append(self.name)
        return GenerationResult(
            self.tokens, "length", len(prompt_ids), 3, 3, ttft_s=0.1, wall_s=self.wall[len(prompt_ids)]
        )


def test_turns_are_taken_and_ratios_are_by_prompt():
    calls = []
    decoders = {
        "a": Scripted("a", calls, {1: 2.0, 2: 8.0}),
        "b": Scripted("b", calls, {1: 1.0, 2: 2.0}, (1, 2, 4)),
    }
    seen = []
    found = compare_decoders(decoders, [[0], [0, 0]], 3, repeats=2, on_progress=lambda *at: seen.append(at))
    assert "".join(calls) == "ab" + "a" + "ab" + "b" + "ba" + "b" + "ba" + "a" + "ab"
    assert seen[-1] == (8, 8)
    estimate, low, high = found.speedup("b")
    assert estimate == pytest.approx(math.sqrt(2 * 4))
    assert low == pytest.approx(2)
    assert high == pytest.approx(4)
    assert found.timed["a"].tokens_per_s == pytest.approx(6 / 10)
    rows = {row["decoder"]: row for row in found.rows()}
    assert rows["a"]["same_text"]
    assert not rows["b"]["same_text"]
    assert rows["b"]["first_divergence"] == {"prompt": 0, "position": 2, "found": 4, "wanted": 3}


@pytest.mark.parametrize("arms", [2, 3, 4, 5, 6, 7])
def test_turns_favour_nobody(arms):
    rows = [turns(arms, row) for row in range(arms * (1 + arms % 2))]
    assert all(sorted(row) == list(range(arms)) for row in rows)
    places = Counter((arm, place) for row in rows for place, arm in enumerate(row))
    after = Counter(pair for row in rows for pair in itertools.pairwise(row))
    assert set(places.values()) == {1 + arms % 2}
    assert len(after) == arms * (arms - 1)
    assert set(after.values()) == {1 + arms % 2}
    assert turns(arms, len(rows)) == rows[0]


def test_one_arm_has_its_turn():
    assert turns(1, 0) == turns(1, 5) == [0]


def test_what_a_run_leaves_behind_is_shared_evenly():
    """Three decoders of the same speed, each slower right after a fourth, which clears the caches."""
    before = []

    class Warm(Scripted):
        def generate(self, prompt_ids, max_new_tokens):
            cold = bool(before) and before[-1] == "cold" and self.name != "cold"
            before.append(self.name)
            return replace(super().generate(prompt_ids, max_new_tokens), wall_s=1.2 if cold else 1.0)

    arms = {name: Warm(name, [], {1: 1.0}) for name in ("cold", "a", "b", "c")}
    found = compare_decoders(arms, [[0]] * 8, 3, repeats=1)
    assert found.speedup("b", over="a")[0] == pytest.approx(1)
    assert found.speedup("c", over="b")[0] == pytest.approx(1)


def test_drift_is_how_much_slower_the_last_half_was():
    found = compare_decoders(
        {"a": Scripted("a", [], {1: 2.0, 2: 3.0})}, [[0], [0], [0, 0], [0, 0]], 3, repeats=1
    )
    assert found.drift("a") == pytest.approx(1.5)


def test_options_are_timed_after_a_run_that_does_not_count():
    calls = []
    seconds = seconds_by_option(
        lambda option: Scripted(option, calls, {1: float(option), 2: 5.0}), [1, 3], [[0], [0, 0]], 3
    )
    assert seconds == {1: 6.0, 3: 8.0}
    assert calls == [1, 1, 1, 3, 3, 3]
    with pytest.raises(InputError, match="options, texts"):
        seconds_by_option(lambda option: Scripted(option, [], {}), [], [[0]], 3)


def test_where_texts_differ():
    assert first_divergence([[1, 2]], [[1, 2]]) is None
    assert first_divergence([[1], [1, 2]], [[1], [1, 2, 3]]) == Divergence(1, 2, -1, 3)


def test_transformers_own_speculation_gives_the_same_text():
    target = HFCausalLM(tiny_llama(64, width=16, layers=2, heads=2).double(), name="target")
    draft = HFCausalLM(tiny_llama(64, width=16, layers=1, heads=2).double(), name="draft")
    found = compare_decoders(
        {
            "plain": PlainDecoder(target),
            "serial": SerialSpeculation(target, draft, length=3),
            "lookup": PromptLookup(target),
            "theirs": TransformersGenerate(target),
            "their assisted": TransformersGenerate(target, "assisted", draft),
            "their lookup": TransformersGenerate(target, "prompt-lookup"),
        },
        [random_ids(8), random_ids(5, seed=1)],
        24,
        repeats=1,
    )
    assert all(row["same_text"] for row in found.rows())
    assert found.timed["theirs"].results[0].target_passes == 24


def test_wrong_settings():
    with pytest.raises(InputError, match="needs decoders"):
        compare_decoders({}, [[1]], 3)
    target = HFCausalLM(tiny_llama(64, width=16, layers=1, heads=2))
    with pytest.raises(InputError, match="belongs to mode"):
        TransformersGenerate(target, "assisted")
