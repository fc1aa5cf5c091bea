"""Both scorers behind one interface: repeatable, order-free, saved and read back bit for bit."""

from __future__ import annotations

import importlib.util
import json
import logging
import random
import types

import numpy as np
import pytest

from firsthand.data.preselect import (
    EmptyClassError,
    FastTextScorer,
    HashedLinearScorer,
    ScorerVersionError,
    holdout_report,
    load_scorer,
    make_scorer,
    positives_classifier,
    train_scorer,
)
from firsthand.errors import InputError, MissingDependencyError, NotFoundError, OutputError

from .conftest import BAD, GOOD, labelled

KINDS = {
    "fasttext": lambda **k: FastTextScorer(**{"bucket": 2000, "dim": 10, "epoch": 5, "lr": 0.5, **k}),
    "hashed": lambda **k: HashedLinearScorer(**{"features": 4096, **k}),
}


@pytest.fixture(params=sorted(KINDS), scope="module")
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def trained(kind):
    texts, labels = labelled(200)
    return KINDS[kind]().fit(texts, labels)


def test_it_tells_the_classes_apart(trained):
    texts, labels = labelled(60, seed=9)
    scores = trained.predict_proba(texts)
    assert scores.dtype == np.float32
    assert ((scores > 0.5) == labels).mean() > 0.95
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_line_breaks_and_order_do_not_matter(trained):
    texts, _ = labelled(30, seed=5)
    scores = trained.predict_proba(texts)
    np.testing.assert_array_equal(trained.predict_proba([t.replace(" ", "\n") for t in texts]), scores)
    np.testing.assert_array_equal(trained.predict_proba(texts[::-1]), scores[::-1])
    np.testing.assert_array_equal(np.concatenate([trained.predict_proba([t]) for t in texts]), scores)


def test_the_released_filter_would_glue_words(trained):
    """Deleting line breaks makes words that training never saw, and another score."""
    text = "river\nwater\nmountain\nsea\nvalley\nclick buy"
    glued = text.replace("\n", "")
    assert trained.predict_proba([text])[0] != trained.predict_proba([glued])[0]
    assert trained.predict_proba([text])[0] == trained.predict_proba([text.replace("\n", " ")])[0]


def test_empty_texts_have_no_score(trained):
    scores = trained.predict_proba(["", " \n ", "river"])
    assert np.isnan(scores).tolist() == [True, True, False]
    assert trained.predict_proba([]).size == 0


def test_training_repeats_and_does_not_depend_on_the_order(kind):
    texts, labels = labelled(80)
    probe, _ = labelled(20, seed=3)
    first = KINDS[kind]().fit(texts, labels)
    order = list(range(80))
    random.Random(1).shuffle(order)
    sorted_by_class = sorted(range(80), key=lambda i: labels[i])
    for rows in (range(80), order, sorted_by_class):
        again = KINDS[kind]().fit([texts[i] for i in rows], [labels[i] for i in rows])
        np.testing.assert_array_equal(again.predict_proba(probe), first.predict_proba(probe))
        assert again.fingerprint() == first.fingerprint()
        assert again.meta["training_sha256"] == first.meta["training_sha256"]


def test_save_and_load_give_the_same_bits(trained, tmp_path):
    probe, _ = labelled(40, seed=4)
    folder = trained.save(tmp_path / "scorer", extra={"holdout": {"auc": 1.0}})
    again = load_scorer(folder)
    assert type(again) is type(trained)
    np.testing.assert_array_equal(again.predict_proba(probe), trained.predict_proba(probe))
    assert again.fingerprint() == trained.fingerprint()
    assert again.contributions(5) == trained.contributions(5)
    assert again.parameters == trained.parameters
    assert sorted(p.name for p in folder.iterdir()) == sorted(["meta.json", trained.weights_name])
    meta = json.loads((folder / "meta.json").read_text())
    assert {"kind", "normaliser_version", "labels", "weights_sha256", "training_sha256", "holdout"} <= set(
        meta
    )


def test_another_normaliser_is_refused(trained, tmp_path):
    folder = trained.save(tmp_path / "scorer")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "normaliser_version": "0"}))
    with pytest.raises(ScorerVersionError, match="normaliser '0'"):
        load_scorer(folder)


def test_damaged_scorers(trained, tmp_path):
    with pytest.raises(NotFoundError, match="no scorer here"):
        load_scorer(tmp_path)
    folder = trained.save(tmp_path / "scorer")
    weights = folder / trained.weights_name
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(InputError, match="SHA-256"):
        load_scorer(folder)
    weights.unlink()
    with pytest.raises(NotFoundError, match="missing"):
        load_scorer(folder)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "kind": "oracle"}))
    with pytest.raises(InputError, match="oracle"):
        load_scorer(folder)
    with pytest.raises(InputError, match="oracle"):
        type(trained).load(folder)
    (folder / "meta.json").write_text("[]")
    with pytest.raises(InputError, match=r"not a scorer's meta\.json"):
        load_scorer(folder)
    (folder / "meta.json").write_text(json.dumps({**meta, "parameters": {"bogus": 1}}))
    weights.write_bytes(whole)
    with pytest.raises(InputError, match="cannot be loaded"):
        load_scorer(folder)


def test_contributions_rank_the_words(trained):
    ranked = trained.contributions(4)
    assert len(ranked) == 8
    words = [word for word, _ in ranked]
    assert set(words[:4]) <= set(GOOD)
    assert set(words[4:]) <= set(BAD)
    weights = [weight for _, weight in ranked]
    assert weights == sorted(weights, reverse=True)
    assert len(trained.contributions(1000)) == 31
    with pytest.raises(InputError, match="top"):
        trained.contributions(0)


def test_contribution_reference_value():
    """Input vector [1, 0.5], output rows [0.5, -0.25] and [-0.5, 0.25]: 0.375 - (-0.375) = 0.75."""
    scorer = FastTextScorer()
    scorer.meta = {"kind": "fasttext"}
    scorer._model = types.SimpleNamespace(
        get_output_matrix=lambda: np.array([[-0.5, 0.25], [0.5, -0.25]]),
        get_labels=lambda: ["__label__0", "__label__1"],
        get_words=lambda on_unicode_error: ["</s>", "word"],
        get_word_vector=lambda word: np.array([1.0, 0.5]),
    )
    assert scorer.contributions() == [("word", 0.75)]
    scorer._model.get_words = lambda on_unicode_error: ["</s>"]
    assert scorer.contributions() == []


def test_probabilities_above_one_are_clipped():
    scorer = FastTextScorer()
    scorer.meta = {"kind": "fasttext"}
    scorer._model = types.SimpleNamespace(
        f=types.SimpleNamespace(
            multilinePredict=lambda lines, k, threshold, errors: (
                [["__label__1"], ["__label__0", "__label__1"], []],
                [[1.00001], [1.0, -1e-6], []],
            )
        )
    )
    assert scorer.predict_proba(["a", "b", "c"]).tolist() == [1.0, 0.0, 0.5]


def test_texts_about_fasttext_are_texts():
    """`</s>` would end the line and `__label__1` would be the label, in training as in scoring."""
    texts, labels = labelled(60)
    poisoned = [f"{t} __label__{1 - label} </s> tail" for t, label in zip(texts, labels, strict=True)]
    scorer = KINDS["fasttext"]().fit(poisoned, labels)
    assert ((scorer.predict_proba(texts) > 0.5) == labels).all()
    words = scorer._model.get_words()
    assert "tail" in words
    assert sorted(scorer._model.get_labels()) == ["__label__0", "__label__1"]
    assert scorer.predict_proba(["river </s> buy now click"]) != scorer.predict_proba(["river"])
    # the obvious way loses the tail: fastText stops reading at </s>
    raw = [scorer._model.predict(f"river </s> {tail}")[1][0] for tail in ("buy now click", "sea valley")]
    assert raw[0] == raw[1]


def test_fasttext_with_one_thread_starts_from_whatever_memory_holds():
    """It sets a tenth of its vectors only; ours makes sure that the others are zeros, used memory or not."""
    texts, labels = labelled(4)
    plain = FastTextScorer(dim=100, bucket=200_000, epoch=1).fit(texts, labels)
    pins = []
    untouched = (plain._model.get_input_matrix() == 0).all(axis=1)
    assert 0.85 < untouched.mean() < 0.9 + 1e-3
    assert not untouched[: len(untouched) // 10].any()

    def soiled():
        for size in (2_000, 20_000, 200_000, 3_000_000):
            junk = [np.full(size, np.nan, dtype=np.float32) for _ in range(20)]
            pins.append(
                np.full(size // 10, np.nan, dtype=np.float32)
            )  # behind it, so that it stays in the heap
            del junk
        return KINDS["fasttext"](bucket=50).fit(*labelled(40))

    prints = {soiled().fingerprint() for _ in range(3)}
    assert len(prints) == 1
    assert np.isfinite(soiled()._model.get_input_matrix()).all()


def test_divergence_is_said(monkeypatch):
    import fasttext

    def diverge(**options):
        raise RuntimeError("Encountered NaN.")

    monkeypatch.setattr(fasttext, "train_supervised", diverge)
    with pytest.raises(InputError, match=r"NaN.*lower lr"):
        FastTextScorer().fit(*labelled(20))


def test_a_class_without_texts(kind):
    for texts, labels in ((["a", "b"], [1, 1]), (["a", " "], [1, 0]), ([], [])):
        with pytest.raises(EmptyClassError, match="label"):
            KINDS[kind]().fit(texts, labels)


def test_bad_labels(kind):
    with pytest.raises(InputError, match="0 or 1"):
        KINDS[kind]().fit(["a", "b"], [1, 2])
    with pytest.raises(InputError, match="2 texts"):
        KINDS[kind]().fit(["a", "b"], [1])
    for call in (lambda s: s.predict_proba(["a"]), lambda s: s.contributions(), lambda s: s.fingerprint()):
        with pytest.raises(InputError, match="not trained"):
            call(KINDS[kind]())


def test_auto_is_fasttext_where_it_is_installed():
    assert isinstance(make_scorer("auto", bucket=10), FastTextScorer)
    assert isinstance(make_scorer("hashed"), HashedLinearScorer)
    with pytest.raises(InputError, match="bucket"):
        make_scorer("hashed", bucket=10)
    with pytest.raises(InputError, match="buckets"):
        make_scorer("auto", buckets=10)
    with pytest.raises(InputError, match="'best'"):
        make_scorer("best")


def test_the_stand_in_says_so(monkeypatch, caplog, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fasttext" else real(name))
    with caplog.at_level(logging.WARNING, "firsthand"):
        scorer = make_scorer("auto", bucket=10, epoch=3, seed=1)
    assert isinstance(scorer, HashedLinearScorer)
    assert "not installed" in caplog.text
    texts, labels = labelled(20)
    folder = scorer.fit(texts, labels).save(tmp_path / "s")
    assert json.loads((folder / "meta.json").read_text())["stands_in_for"] == "fasttext"


def test_a_broken_fasttext_is_not_covered_up(monkeypatch):
    import builtins

    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name == "fasttext":
            raise ImportError("libstdc++ too old")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    texts, labels = labelled(20)
    with pytest.raises(MissingDependencyError, match=r"firsthand\[data\]"):
        make_scorer("auto").fit(texts, labels)


def test_a_full_disk_is_an_output_error(monkeypatch, tmp_path):
    import tempfile

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    texts, labels = labelled(20)
    with pytest.raises(OutputError, match="No space left"):
        KINDS["fasttext"]().fit(texts, labels)


def test_holdout_report_by_hand():
    y = [1, 1, 0, 0, 1, 0, 1, 0, 1, 0, 1]
    p = [0.9, 0.8, 0.7, 0.1, 0.6, 0.2, 0.55, 0.3, 0.52, 0.4, np.nan]
    report = holdout_report(y, p)
    assert report.n == 10
    assert report.accuracy == pytest.approx(0.9)
    assert report.auc == pytest.approx(22 / 25)  # three positives lie below the negative at 0.7
    assert (report.decile_n, report.decile_mean_score, report.decile_positive_share) == (
        1,
        pytest.approx(0.9),
        1.0,
    )
    assert report.as_dict()["n"] == 10


def test_the_top_decile_shares_out_ties():
    y = np.repeat([1, 0], [5, 15])
    report = holdout_report(y, np.full(20, 0.7))
    assert report.decile_positive_share == pytest.approx(0.25)
    assert holdout_report(y[::-1], np.full(20, 0.7)) == report
    assert report.auc == 0.5
    assert np.isnan(holdout_report([1, 1], [0.2, 0.3]).auc)


def test_holdout_bad_input():
    with pytest.raises(InputError, match="shape"):
        holdout_report([1], [0.5, 0.5])
    with pytest.raises(InputError, match="no document"):
        holdout_report([1], [np.nan])


class Spy(HashedLinearScorer):
    def fit(self, texts, y):
        self.texts = list(texts)
        return super().fit(texts, y)


def test_training_never_sees_the_held_out(kind):
    texts, labels = labelled(100)
    ids = [f"d{i}" for i in range(100)]
    spy = Spy(features=4096)
    report = train_scorer(spy, texts, labels, ids, holdout=0.2, seed=3)
    assert report.n == 20
    assert len(spy.texts) == 80
    assert report.auc > 0.9
    again = Spy(features=4096)
    order = np.random.default_rng(0).permutation(100)
    train_scorer(
        again,
        [texts[i] for i in order],
        [labels[i] for i in order],
        [ids[i] for i in order],
        holdout=0.2,
        seed=3,
    )
    assert set(again.texts) == set(spy.texts)
    everything = Spy(features=4096)
    assert train_scorer(everything, texts, labels, ids, holdout=0) is None
    assert len(everything.texts) == 100


def test_train_scorer_bad_input():
    with pytest.raises(InputError, match="holdout"):
        train_scorer(Spy(), ["a"], [1], ["x"], holdout=1.0)
    with pytest.raises(InputError, match="2 ids"):
        train_scorer(Spy(), ["a"], [1], ["x", "y"])


def test_positives_classifier():
    texts, labels = labelled(200)
    good = [t for t, label in zip(texts, labels, strict=True) if label]
    bad = [t for t, label in zip(texts, labels, strict=True) if not label]
    scorer = positives_classifier(good[:50], bad + good[50:60], scorer="hashed", features=4096, seed=2)
    assert scorer.meta["n_positive"] == scorer.meta["n_negative"] == 50
    scores = scorer.predict_proba([good[99], bad[99]])
    assert scores[0] > scores[1]
    capped = positives_classifier(good, bad, scorer=HashedLinearScorer(features=4096), max_per_class=10)
    assert capped.meta["n_positive"] == 10
    with pytest.raises(InputError, match="at least one"):
        positives_classifier([], bad)
    with pytest.raises(InputError, match="1 ids"):
        positives_classifier(good, bad, pool_ids=["x"])
