"""PreSelect against the obvious loops, the bare fastText library and perplexity-correlations.

Four questions: how much faster is predictive strength than the double loop that its formula suggests; what
does our scorer cost over fastText's own prediction; how fast is the way from files to files, up to a million
documents, and does its memory stay flat (`corpus_runs`); and what does the nearest peer's package compute on
the same losses, and how fast.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from benchmarks import corpus_runs, peers
from benchmarks.measure import Row, alternate, at_least, missing_row, timed_row
from benchmarks.texts import generated_texts
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MODELS = 12
PEER = "perplexity-correlations"
LACKS = (
    "a loss runner",
    "labels from strength",
    "a trained scorer",
    "a threshold by characters, tokens or documents",
    "selection from files",
)


def run(quick: bool = False) -> dict[str, Any]:
    rows = [*strength_rows(quick), *scorer_rows(quick), *corpus_runs.rows(quick)]
    beside, details = correlation_rows(quick)
    return {"rows": rows + beside, "details": details}


# --- predictive strength and the obvious loop ----------------------------------------------------------


def simulated_losses(
    documents: int, seed: int, share: float = 0.5
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """(D, N) bits per byte, (N,) accuracy, and (D,) which documents follow the models' latent quality.

    In a `share` of the documents the loss falls with quality, at a slope of the document's own, under noise;
    in the others it is noise around the document's level.
    """
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=MODELS)
    ability = 0.55 + 0.1 * quality
    follows = rng.random(documents) < share
    slope = np.where(follows, rng.uniform(0.02, 0.10, documents), 0.0)
    level = rng.uniform(0.6, 1.4, documents)
    noise = rng.normal(scale=0.05, size=(documents, MODELS))
    losses = np.maximum(level[:, None] - slope[:, None] * quality + noise, 0.05)
    return losses, ability, follows


def strength_by_loop(losses: Floats, ability: Floats) -> Floats:
    """The formula, read aloud: for each document, for each pair of models."""
    out = np.zeros(len(losses))
    for d in range(len(losses)):
        agreeing = pairs = 0
        for i in range(len(ability)):
            for j in range(len(ability)):
                if ability[i] < ability[j]:
                    pairs += 1
                    agreeing += bool(losses[d, i] > losses[d, j])
        out[d] = agreeing / pairs
    return out


def strength_by_sorted_lists(losses: Floats, ability: Floats) -> Floats:
    """The same by someone who knows that Python is quicker on lists and sorts the models once."""
    n = len(ability)
    pairs = n * (n - 1) // 2
    out = []
    for document in losses[:, np.argsort(ability)].tolist():
        agreeing = 0
        for i in range(n):
            for j in range(i + 1, n):
                if document[i] > document[j]:
                    agreeing += 1
        out.append(agreeing / pairs)
    return np.array(out)


def strength_rows(quick: bool = False) -> list[Row]:
    from firsthand.data.preselect import predictive_strength

    documents = 3_000 if quick else 100_000
    losses, ability, _ = simulated_losses(documents, seed=1000)
    found = predictive_strength(losses, ability)
    rows = []
    for label, loop, rounds in (
        ("double loop over NumPy scalars", strength_by_loop, 1 if quick else 3),
        ("double loop over sorted lists", strength_by_sorted_lists, 3 if quick else 5),
    ):
        equal = np.array_equal(found, loop(losses, ability))
        timing = alternate(
            partial(predictive_strength, losses, ability), partial(loop, losses, ability), rounds
        )
        rows.append(
            timed_row(
                f"strength, {documents:,} documents × {MODELS} models", "predictive_strength", label, timing,
                target=at_least(50), equal=equal,
                note="No running peer: the released script is for 6 models and cannot run; the obvious loops "
                "stand in, over all documents, and every value is compared exactly.",
            )
        )  # fmt: skip
    return rows


# --- the scorer and the bare library ---------------------------------------------------------------------


def _two_classes(quick: bool) -> tuple[list[str], NDArray[np.int_], str]:
    if quick:
        texts = generated_texts(200, seed=1001)
        return texts, np.arange(200) % 2, "generated"
    from firsthand.corpora import python_text

    prose, code = (
        list(python_text(kind, packages=("stdlib",), max_chars=None, limit=2_000).texts)
        for kind in ("docstrings", "functions")
    )
    labels = np.repeat([1, 0], [len(prose), len(code)])
    return prose + code, labels, "docstrings and functions of Python's standard library"


def scorer_rows(quick: bool = False) -> list[Row]:
    try:
        import fasttext
    except ImportError:
        return [missing_row("scoring", "fastText", "fastText has no wheel for this Python")]
    from firsthand.data.preselect import FastTextScorer, normalize_text

    texts, labels, source = _two_classes(quick)
    scorer = FastTextScorer(bucket=20_000 if quick else 200_000, seed=1000).fit(texts, labels)
    with tempfile.TemporaryDirectory() as folder:
        scorer = FastTextScorer.load(scorer.save(folder))
    # One model for all sides: two copies of the same weights lie differently in memory, and the speed of looking
    # up their rows then differs by more than what is measured here. It is the library's own object.
    model = scorer._model
    assert isinstance(model, fasttext.FastText._FastText)
    lines = [normalize_text(text) for text in texts]

    def probabilities(found: tuple[Sequence[Any], Sequence[Any]]) -> NDArray[np.float32]:
        values = [p[0] if names[0] == "__label__1" else p[1] for names, p in zip(*found, strict=True)]
        return np.clip(np.array(values, dtype=np.float32), np.float32(0), np.float32(1))

    def bare(ready: Sequence[str]) -> NDArray[np.float32]:
        return probabilities(model.predict(list(ready), k=2))

    def bare_one_by_one(ready: Sequence[str]) -> NDArray[np.float32]:
        found = [model.predict(line, k=2) for line in ready]
        return probabilities(([names for names, _ in found], [p for _, p in found]))

    words = sum(len(line.split()) for line in lines) / len(lines)
    what = f"scoring {len(texts):,} texts of {words:.0f} words"
    note = (
        f"Texts: {source}. All sides end with a float32 array of P(label 1), clipped to [0, 1]. Ours also "
        "sets empty texts aside and disarms words that fastText reads as commands; on normalised lines it "
        "normalises again, and the library does not."
    )
    pairs: list[tuple[str, str, list[str], Callable[[], NDArray[np.float32]]]] = [
        ("texts as they are", "normalize_text, then the library's predict on a list", texts,
         lambda: bare([normalize_text(text) for text in texts])),
        ("normalised lines", "the library's predict on a list", lines, lambda: bare(lines)),
        ("normalised lines", "the library's predict, line by line", lines, lambda: bare_one_by_one(lines)),
    ]  # fmt: skip
    rows = []
    for kind, label, given, peer in pairs:
        equal = np.array_equal(scorer.predict_proba(given), peer())
        timing = alternate(partial(scorer.predict_proba, given), peer, 3 if quick else 9)
        rows.append(
            timed_row(
                f"{what}: {kind}", "FastTextScorer.predict_proba", label, timing,
                target=at_least(0.9), equal=equal, note=note,
            )
        )  # fmt: skip
    return [*rows, _datatrove_row(what, scorer.predict_proba, model, texts, quick)]


def _datatrove_row(
    what: str,
    ours: Callable[[Sequence[str]], NDArray[np.float32]],
    model: Any,
    texts: Sequence[str],
    quick: bool,
) -> Row:
    """The step that the official pipeline scores with, on the same model."""
    label = "datatrove's FastTextClassifierFilter"
    try:
        from datatrove.data import Document
        from datatrove.pipeline.filters import FastTextClassifierFilter
    except ImportError as error:
        return missing_row(what, label, f"{error}: pip install 'firsthand[data]'")

    # It asks for a distribution called fasttext-numpy2-wheel: the library we have, under another name.
    # The model is handed over loaded, as it would first be copied to a cache that outlives the run.
    FastTextClassifierFilter._requires_dependencies = []
    step = FastTextClassifierFilter("", keep_labels=("1", 0.5), newline_replacement=" ")
    step._model = model

    def peer() -> NDArray[np.float32]:
        documents = [Document(text=text, id="") for text in texts]
        for document in documents:
            step.filter(document)
        values = [document.metadata["__label__1"] for document in documents]
        return np.clip(np.array(values, dtype=np.float32), np.float32(0), np.float32(1))

    same = int((peer() == ours(texts)).sum())
    return timed_row(
        f"{what}: texts as they are", "FastTextScorer.predict_proba", label,
        alternate(partial(ours, texts), peer, 3 if quick else 7),
        target=None, equal=None,
        note=f"The same score for {same:,} of {len(texts):,} texts: the step replaces line breaks (here by a space, "
        "by default by nothing) and normalises nothing else. It also decides what is kept; ours does so later.",
        equal_scores=same,
    )  # fmt: skip


# --- perplexity-correlations on the same losses ----------------------------------------------------------


def correlation_rows(quick: bool = False) -> tuple[list[Row], dict[str, Any]]:
    """Times of its estimators beside strength, and how far they rank the same documents high."""
    what = f"strength beside {PEER}"
    try:
        peers.import_peer(PEER)
    except peers.PeerNotBuiltError as error:
        return [missing_row(what, PEER, str(error))], {}
    from perplexity_correlations import estimation, projection

    from firsthand.data.preselect import compare_estimators, predictive_strength

    documents = 3_000 if quick else 100_000
    losses, ability, follows = simulated_losses(documents, seed=1003)
    # Each side gets its own layout, contiguous: theirs is models × texts, and errors instead of accuracies.
    turned, errors = np.ascontiguousarray(losses.T), 1 - ability
    strength = predictive_strength(losses, ability)
    ours = compare_estimators(losses, ability)
    counterpart = {"sign_sign": 2 * strength - 1, "spearmanr": ours.spearman, "sign": ours.sign}
    rows, agreement = [], {}
    for name in ("sign_sign", "spearmanr", "sign_cdf", "sign", "product"):
        estimator = getattr(estimation, name)
        theirs = estimator(turned, errors)
        same = counterpart.get(name)
        difference = None if same is None else float(np.abs(theirs - same).max())
        timing = alternate(
            partial(predictive_strength, losses, ability),
            partial(estimator, turned, errors),
            1 if quick else 5,
        )
        rows.append(
            timed_row(
                f"strength beside an estimator, {documents:,} × {MODELS}", "predictive_strength",
                f"{PEER}, {name}", timing,
                target=at_least(1) if name == "sign_sign" else None,
                equal=difference is not None and difference < 1e-12 if name == "sign_sign" else None,
                note="Without ties sign_sign = 2 S − 1 (with ties: of S by ties='half'): the same quantity under "
                "another name, so it alone has a target; the others are other estimators. The peer takes "
                "benchmark errors and models × texts, and lacks: " + ", ".join(LACKS) + ".",
            )
        )  # fmt: skip
        agreement[name] = {
            "rank_correlation_with_strength": _rank_correlation(theirs, strength),
            "area_under_roc_of_documents_that_follow_quality": _area_under_roc(theirs, follows),
            "largest_difference_from_our_counterpart": difference,
        }
    agreement["predictive_strength"] = {
        "rank_correlation_with_strength": 1.0,
        "area_under_roc_of_documents_that_follow_quality": _area_under_roc(strength, follows),
        "largest_difference_from_our_counterpart": None,
    }
    details = {
        "agreement": agreement,
        "setting": f"{documents} documents × {MODELS} models, half of them follow a latent quality",
        "probes": _probes(estimation),
        "sign_sign_on_tied_losses": _difference_on_ties(estimation),
        "public_names_of_the_peer": sorted([*estimation.__all__, *projection.__all__]),
        "not_in_the_peer": list(LACKS),
        "only_in_the_peer": ["projections to sampling weights under caps (linear, l2)"],
        "peer_versions": {name: peers.versions(name) for name in peers.PEERS if "preselect" in peers.PEERS[name].rooms},
    }  # fmt: skip
    return rows, details


def _probes(estimation: Any) -> dict[str, dict[str, str]]:
    """What either side makes of a missing loss and of tied losses; observed, not read."""
    from firsthand.data.preselect import predictive_strength

    losses, ability, _ = simulated_losses(50, seed=1004)
    missing, tied = losses.copy(), np.round(losses, 1)
    missing[0, 3] = np.nan
    order = np.random.default_rng(1005).permutation(MODELS)
    found: dict[str, dict[str, str]] = {}

    def probe(name: str, estimate: Callable[[Floats, Floats], Floats]) -> None:
        changes = not np.allclose(
            estimate(tied, ability), estimate(np.ascontiguousarray(tied[:, order]), ability[order])
        )
        found[name] = {
            "missing loss": "NaN" if np.isnan(estimate(missing, ability)[0]) else "a number, without a word",
            "tied losses": f"the order of the models {'changes' if changes else 'does not change'} the value",
        }

    probe("predictive_strength", predictive_strength)
    for name in estimation.__all__:
        probe(name, partial(_turned, getattr(estimation, name)))
    return found


def _difference_on_ties(estimation: Any) -> dict[str, float]:
    """How far sign_sign is from 2 S − 1 where losses are tied, for either way to credit a tie."""
    from firsthand.data.preselect import predictive_strength

    losses, ability, _ = simulated_losses(1_000, seed=1008)
    tied = np.round(losses, 1)
    theirs = _turned(estimation.sign_sign, tied, ability)
    return {
        f"ties={ties}": float(np.abs(theirs - (2 * predictive_strength(tied, ability, ties=ties) - 1)).max())
        for ties in ("zero", "half")
    }


def _turned(estimator: Callable[[Floats, Floats], Floats], losses: Floats, ability: Floats) -> Floats:
    return estimator(np.ascontiguousarray(losses.T), 1 - ability)


def _rank_correlation(a: Floats, b: Floats) -> float:
    from scipy.stats import spearmanr

    return round(float(spearmanr(a, b).statistic), 4)


def _area_under_roc(score: Floats, positive: NDArray[np.bool_]) -> float:
    from scipy.stats import rankdata

    ranks, n = rankdata(score), int(positive.sum())
    area = (ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n))
    return round(float(area), 4)
