"""Table and n-gram models: the formula, trees, what a cache forgets, files."""

from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.errors import InputError, NotFoundError, OutputError
from firsthand.lm.decoding.ngram import HistoryCache, NGramLM, TableLM
from firsthand.lm.decoding.plain import PlainDecoder
from firsthand.lm.decoding.protocol import CausalLM, KVCache

TEXT = [0, 1, 2, 0, 1, 3, 0, 1, 2, 2, 1, 0, 4, 0, 1]


def slow_p(text: list[int], V: int, order: int, context: list[int], w: int) -> float:
    """Witten-Bell, written down as in the docstring."""
    if order == 1:
        return (text.count(w) + 1) / (len(text) + V)
    m = order - 1
    shorter = slow_p(text, V, order - 1, context, w)
    if len(context) < m:
        return shorter
    h = context[-m:]
    after = Counter(text[i] for i in range(m, len(text)) if text[i - m : i] == h)
    if not after:
        return shorter
    c, T = sum(after.values()), len(after)
    return (after[w] + T * shorter) / (c + T)


def test_protocol():
    for model in (TableLM(np.zeros((4, 4))), NGramLM(3, vocab_size=4)):
        assert isinstance(model, CausalLM)
        assert isinstance(model.new_cache(), KVCache)
        assert model.max_length is None


def test_hand_computed():
    # After (0, 1): 2, 3, 2 → c = 3, T = 2. After (1): 2, 3, 2, 0 → c = 4, T = 3. Of 5 tokens over 15.
    model = NGramLM(3, vocab_size=5).fit(TEXT)
    p = model.forward([0, 1], model.new_cache(), last=1)[0].exp()
    base = (TEXT.count(2) + 1) / 20
    assert p[2] == pytest.approx((2 + 2 * ((2 + 3 * base) / 7)) / 5, rel=1e-12)
    assert p[4] == pytest.approx(2 / 5 * 3 / 7 * 2 / 20, rel=1e-12)
    assert float(p.sum()) == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40),
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.integers(1, 5),
)
def test_equals_the_formula(text, prompt, order):
    model = NGramLM(order, vocab_size=6).fit(text)
    rows = model.forward(prompt, model.new_cache()).exp().numpy()
    for i, row in enumerate(rows):
        wanted = [slow_p(text, 6, order, prompt[: i + 1], w) for w in range(6)]
        np.testing.assert_allclose(row, wanted, rtol=1e-10)


def test_nothing_learnt_is_uniform():
    model = NGramLM(3, vocab_size=4)
    np.testing.assert_allclose(model.forward([1, 2], model.new_cache()).numpy(), math.log(1 / 4))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_tree_equals_its_paths(data):
    """Random trees grown over several calls; each node's logits are those of its path read as text."""
    V, order = 5, data.draw(st.integers(1, 4))
    model = NGramLM(order, vocab_size=V).fit(data.draw(st.lists(st.integers(0, 4), min_size=20, max_size=60)))
    prompt = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    cache = model.new_cache()
    model.forward(prompt, cache, last=1)
    base, paths = len(prompt), []  # a node's path: indices of its ancestors and itself
    token: list[int] = []
    for _ in range(data.draw(st.integers(1, 3))):
        start = len(paths)
        for _ in range(data.draw(st.integers(1, 4))):
            parent = data.draw(st.integers(-1, len(paths) - 1))
            paths.append([*([] if parent < 0 else paths[parent]), len(paths)])
            token.append(data.draw(st.integers(0, 4)))
        mask = np.zeros((len(paths) - start, len(paths)), dtype=bool)
        for row, path in enumerate(paths[start:]):
            mask[row, path] = True
        rows = model.forward(
            token[start:],
            cache,
            positions=[base + len(path) - 1 for path in paths[start:]],
            mask=torch.from_numpy(mask),
        )
        for row, path in zip(rows, paths[start:], strict=True):
            alone = model.forward([*prompt, *(token[i] for i in path)], model.new_cache(), last=1)[0]
            assert torch.equal(row, alone)
    kept = data.draw(st.sampled_from(paths))
    cache.commit(base, [base + i for i in kept])
    text = [*prompt, *(token[i] for i in kept)]
    assert cache.tokens == text
    assert cache.linear
    after = model.forward([1, 2], cache)
    assert torch.equal(after, model.forward([*text, 1, 2], model.new_cache(), last=2))


def test_unmasked_after_a_tree_sees_all_of_it():
    model = NGramLM(4, vocab_size=5).fit(TEXT)
    cache = model.new_cache()
    model.forward([0, 1], cache)
    model.forward([2, 3], cache, positions=[2, 2], mask=np.eye(2, dtype=bool))
    assert not cache.linear
    row = model.forward([4], cache, positions=[3])[0]
    assert torch.equal(row, model.forward([0, 1, 2, 3, 4], model.new_cache(), last=1)[0])
    cache.truncate(2)
    assert cache.linear


def test_cache_goes_back_and_forks():
    model = TableLM(np.arange(9.0).reshape(3, 3))
    cache = model.new_cache()
    model.forward([0, 1, 2], cache)
    other = cache.fork()
    cache.truncate(1)
    cache.truncate(5)
    assert (cache.length, other.length, other.tokens) == (1, 3, [0, 1, 2])
    for wrong in ([2, 1], [0], [3]):
        with pytest.raises(InputError, match="cannot keep"):
            other.commit(1, wrong)
    with pytest.raises(InputError, match="cannot be cut"):
        cache.truncate(-1)
    other.commit(1, [])
    assert other.tokens == [0]


def test_successors():
    model = TableLM.of_successors([1, 2, 0])
    assert PlainDecoder(model).generate([0], 5).tokens == (1, 2, 0, 1, 2)


def test_saved_and_loaded(tmp_path):
    model = NGramLM(3, vocab_size=5).fit(TEXT)
    file = tmp_path / "draft.npz"
    model.save(file)
    again = NGramLM.load(file)
    assert again.name == "draft"
    assert torch.equal(model.forward(TEXT, model.new_cache()), again.forward(TEXT, again.new_cache()))
    assert [f.name for f in tmp_path.iterdir()] == ["draft.npz"]


def test_files_that_are_none(tmp_path):
    with pytest.raises(NotFoundError, match="there is no file"):
        NGramLM.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", header=np.array([None]))
    np.savez(tmp_path / "later.npz", header=np.array([99, 3, 5]))
    for name in ("text", "other", "pickle", "later"):
        with pytest.raises(InputError, match=f"{name}.npz"):
            NGramLM.load(tmp_path / f"{name}.npz")
    with pytest.raises(OutputError):
        NGramLM(2, vocab_size=3).save(tmp_path / "nowhere" / "x.npz")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: NGramLM(0, vocab_size=3), "order"),
        (lambda: NGramLM(2, vocab_size=0), "vocab_size"),
        (lambda: NGramLM(2, vocab_size=3).fit([]), "T at least 1"),
        (lambda: NGramLM(2, vocab_size=3).fit([0, 3]), "token 3 is outside"),
        (lambda: NGramLM(2, vocab_size=3).fit([-1, 0]), "token -1 is outside"),
        (lambda: TableLM(np.zeros((2, 3))), r"\(V, V\)"),
        (lambda: TableLM(np.zeros((2, 2))).forward([], HistoryCache()), "at least one token"),
        (lambda: TableLM(np.zeros((2, 2))).forward([0], HistoryCache(), positions=[0, 1]), "positions"),
        (lambda: TableLM(np.zeros((2, 2))).forward([0], HistoryCache(), mask=np.ones((1, 2))), "2 columns"),
    ],
)
def test_bad_input(act, message):
    with pytest.raises(InputError, match=message):
        act()


def test_a_step_costs_little():
    """CPU time of a step against that of one dense float64 row filled and logged: no per-token Python."""
    rng = np.random.default_rng(0)
    V = 1024
    model = NGramLM(3, vocab_size=V).fit(rng.zipf(1.3, 50_000) % V)
    cache = model.new_cache()
    model.forward([1, 2, 3], cache)
    row = rng.random(V)

    def cpu(act, count=400):
        best = math.inf
        for _ in range(5):
            start = time.process_time()
            for _ in range(count):
                act()
            best = min(best, time.process_time() - start)
        return best / count

    def step():
        model.forward([1], cache, last=1)
        cache.truncate(3)

    assert cpu(step) < 30 * cpu(lambda: np.log(row.copy()))
