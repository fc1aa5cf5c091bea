"""Sets of documents with habits and without: kept by count, rewritten, and matched in tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.training.four_habits import (
    BehaviourCounts,
    JudgeCounter,
    LikenessCounter,
    TokenBudgetError,
    count_rules,
    enrich,
)
from firsthand.training.four_habits.habits import count_words, sentences

SHOWN = "We get 3 + 4 = 7. Wait, that is too high. Let me try again: 3 * 4 = 12. This works."
PLAIN = "Add three and four. The sum is seven. Seven is a prime number, as people know."
HALF = "Let me try again: 3 * 4 = 12."  # goes back, verifies nothing


def test_who_is_in_which_set():
    shown, plain = enrich([PLAIN, SHOWN, HALF, PLAIN], match_tokens=False)
    assert [one.place for one in shown] == [1]
    assert [one.place for one in plain] == [0, 3]
    assert shown[0].counts == count_rules(SHOWN)
    only, _ = enrich([PLAIN, SHOWN, HALF], keep=("backtracking",), match_tokens=False)
    assert [one.place for one in only] == [1, 2]
    often, _ = enrich([SHOWN, SHOWN + " " + SHOWN], least=3, match_tokens=False)
    assert [one.place for one in often] == [1]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**31))
def test_matched_sets_differ_by_less_than_half_a_per_cent(many, few, seed):
    rng = np.random.default_rng(seed)

    def text(habit, size):
        return (f"{SHOWN} " if habit else "") + " ".join(rng.choice(["one", "two", "plus", "so"], size))

    documents = [text(True, rng.integers(200, 600)) for _ in range(many)]
    documents += [text(False, rng.integers(200, 600)) for _ in range(few)]
    shown, plain = enrich(documents)
    mine, theirs = (sum(one.tokens for one in some) for some in (shown, plain))
    assert abs(mine - theirs) <= 0.005 * max(mine, theirs)
    for one in (*shown, *plain):
        assert one.tokens == count_words(one.text)
        assert documents[one.place].startswith(one.text)


def test_a_tokenizer_counts():
    def letters(text, add_special_tokens=True):
        return {"input_ids": [*text] + [0] * add_special_tokens}

    shown, plain = enrich([SHOWN * 4, PLAIN * 40], tokenizer=letters)
    assert sum(one.tokens for one in shown) == len(SHOWN * 4)
    assert 0.995 * len(SHOWN * 4) <= len(plain[0].text) <= len(SHOWN * 4)


def test_rewriting():
    shown, plain = enrich(
        [SHOWN, PLAIN, PLAIN], match_tokens=False, rewrite=(str.upper, lambda text: f"In words: {text}")
    )
    assert shown[0].text == SHOWN.upper()
    assert plain[0].text == f"In words: {PLAIN}"
    assert plain[0].tokens == count_words(plain[0].text)
    _, spoilt = enrich([PLAIN], match_tokens=False, rewrite=(str, lambda text: "Wait. " + text))
    assert not spoilt  # a plain text that shows a habit after all is dropped
    empty, _ = enrich([SHOWN], match_tokens=False, rewrite=(lambda _: " ", str))
    assert not empty


def test_long_documents_are_cut_at_a_line():
    lines = [f"line {n} of words" for n in range(50)]
    _, plain = enrich(["\n".join(lines)], longest=42, match_tokens=False)
    assert plain[0].text == "\n".join(lines[:10])
    assert plain[0].tokens == 40


def test_a_judge_that_gives_no_count_leaves_a_document_out():
    judge = JudgeCounter(lambda prompt: "<count>1</count>" if "works" in prompt else "no idea")
    shown, plain = enrich([SHOWN, PLAIN], judge, match_tokens=False)
    assert [one.place for one in shown] == [0]
    assert not plain


def test_nothing_to_match():
    with pytest.raises(TokenBudgetError, match="is without habits"):
        enrich([SHOWN])
    with pytest.raises(TokenBudgetError, match="shows these habits"):
        enrich([PLAIN])
    with pytest.raises(InputError, match="least is at least 1"):
        enrich([PLAIN], keep=("luck",))


def test_a_text_that_cannot_be_cut_fine_enough_is_refused():
    with pytest.raises(TokenBudgetError, match="too few to match"):
        enrich([SHOWN, "-" * 1000])


def test_sentences():
    text = "It is 3.5 now. Wait! Is it?\nYes it is"
    assert [text[a:b] for a, b in sentences(text)] == ["It is 3.5 now.", "Wait!", "Is it?", "Yes it is"]
    assert sentences(" \n ") == []


def bag(texts):
    """Letters' counts: enough to tell these sentences apart."""
    return [[text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


def test_likeness_to_examples():
    counter = LikenessCounter(
        bag,
        {
            "backtracking": ["let me try again"],
            "verification": ["this works"],
            "none": ["add three and four"],
        },
        least=0.9,
    )
    text = "Let me try again. This works. Add three and four. Something quite different, xyz."
    found = counter(text)
    assert (found.backtracking, found.verification, found.subgoal) == (1, 1, 0)
    assert [text[a:b] for _, a, b in found.spans] == ["Let me try again.", "This works."]
    assert counter("") == BehaviourCounts()
    shown, plain = enrich([text, "Add three and four."], counter, match_tokens=False)
    assert (len(shown), len(plain)) == (1, 1)


@pytest.mark.parametrize("examples", [{}, {"luck": ["x"]}, {"none": ["x"]}, {"subgoal": []}])
def test_examples_that_are_none(examples):
    with pytest.raises(InputError, match="examples of habits"):
        LikenessCounter(bag, examples)


def test_an_embedding_of_another_shape():
    with pytest.raises(InputError, match="one vector a text"):
        LikenessCounter(lambda texts: [1.0] * len(texts), {"subgoal": ["x"]})
