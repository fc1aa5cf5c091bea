"""Claim: data that predicts is data that teaches. Does PreSelect's tenth of a pool teach more than another?

Treatment: a student model trained on the tenth of a pool that PreSelect selects. Controls: the same student
trained on a random tenth, on the tenth of lowest perplexity, and on the tenth that PreSelect puts last; at
the same number of characters and of training tokens. Measurement: bits per character of held-out prose
(fewer is better) and accuracy on a 4-way cloze made from it.

A negative control is a claim of its own. Where the reference models differ only in how much of one data
mix they have read, and the pool holds boilerplate, every better model compresses boilerplate better, so
PreSelect takes boilerplate and loses to a random tenth. Diverse models and a deduplicated pool are the
method's precondition, shown to matter.

Texts, pool and trained models all differ from seed to seed: the seed is the unit of analysis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from firsthand.claims import Gate, Measurement, Observation
from firsthand.corpora import mixture, python_text
from firsthand.corpora.documents import Document as Text
from firsthand.data.documents import Document
from firsthand.data.preselect.cloze import (
    ClozeItem,
    cloze_accuracy,
    cloze_items,
    cloze_log_probabilities,
    cloze_probability,
)
from firsthand.data.preselect.estimator import PreSelect
from firsthand.data.preselect.selection import lowest_loss_selection, random_selection, select_by_score
from firsthand.data.preselect.text import bits_per_char

__all__ = ["SEEDS", "measure"]

SEEDS = {"smoke": 2, "laptop": 6}

KINDS: dict[str, Literal["docstrings", "functions"]] = {"prose": "docstrings", "code": "functions"}
POOL = {"prose": 0.15, "code": 0.25, "shuffled": 0.30, "numbers": 0.15, "hex": 0.15}
# The negative control's pool: the same, less some junk, plus boilerplate that repeats itself.
BOILERPLATE_POOL = {
    "prose": 0.15,
    "code": 0.25,
    "shuffled": 0.25,
    "numbers": 0.10,
    "hex": 0.10,
    "boilerplate": 0.15,
}
FRACTION = 0.1


@dataclass(frozen=True)
class Size:
    """How large everything is at one scale; counts are documents unless said otherwise."""

    chars: int  # a document is cut to this many
    pool: int
    seed_sample: int
    references: int  # reference models, each on a mix of its own
    reference_documents: int
    nested: tuple[int, ...]  # what each nested reference model has read of the one mix
    reference_shape: tuple[int, int, int]  # width, layers, heads
    reference_passes: float
    student_shape: tuple[int, int, int]
    student_passes: float
    benchmark: int  # held-out prose, once for abilities and once more for the report
    items: int  # cloze items on each
    vocabulary: int
    context: int  # tokens
    batch: int  # small at laptop scale: with few tokens, many small steps teach more
    packages: tuple[str, ...]
    limit: int | None  # of texts a kind
    bucket: int  # of the scorer
    min_per_class: int


SIZES = {
    "smoke": Size(
        chars=200, pool=200, seed_sample=100, references=4, reference_documents=32, nested=(8, 16, 32),
        reference_shape=(32, 1, 2), reference_passes=1, student_shape=(32, 1, 2), student_passes=1,
        benchmark=32, items=24, vocabulary=320, context=64, batch=8, packages=("stdlib",), limit=1_500,
        bucket=2_000, min_per_class=5,
    ),
    "laptop": Size(
        chars=600, pool=4_000, seed_sample=1_200, references=8, reference_documents=400,
        nested=(50, 100, 150, 200, 300, 400), reference_shape=(64, 2, 2), reference_passes=3,
        student_shape=(96, 2, 3), student_passes=4, benchmark=200, items=600, vocabulary=1_024, context=256, batch=2,
        packages=("stdlib", "numpy", "scipy", "sklearn", "torch"), limit=None, bucket=200_000, min_per_class=50,
    ),
}  # fmt: skip


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """One seed: its texts, reference models, selections and students.

    With `null` a second random tenth stands in the place of every selection by PreSelect.
    """
    world = _World(seed, SIZES[scale])
    # Treatment and controls: what each arm's student reads.
    references = world.diverse_references()
    arms, details = _selections(
        world, world.pool(POOL), references, ("preselect", "random", "lowest-perplexity", "inverse"), null
    )
    nested = world.nested_references()
    control, nested_details = _selections(
        world, world.pool(BOILERPLATE_POOL), nested, ("preselect", "random"), null
    )
    # Measurement.
    results = {arm: world.student(texts) for arm, texts in arms.items()}
    on_boilerplate = {arm: world.student(texts) for arm, texts in control.items()}
    observations = [
        *_compare(seed, "bits-beat-random", results, "preselect", "random", "bits"),
        *_compare(seed, "accuracy-beats-random", results, "preselect", "random", "accuracy"),
        *_compare(seed, "bits-beat-lowest-perplexity", results, "preselect", "lowest-perplexity", "bits"),
        *_compare(seed, "bits-beat-inverse", results, "preselect", "inverse", "bits"),
        *_compare(seed, "nested-lose-to-random", on_boilerplate, "preselect", "random", "bits"),
    ]
    best = max(model.ability for model in references)
    gate = Gate(
        name="reference models learn",
        passed=scale == "smoke" or best > 0.30,
        detail=f"the best of them answers {best:.0%} of the cloze; chance is 25 %",
    )
    candidates = dict.fromkeys(arms, world.size.pool)
    return Measurement(
        observations=tuple(observations),
        gates=(gate,),
        candidates=candidates,
        details={
            "students": {arm: result.row() for arm, result in results.items()},
            "students on the boilerplate pool": {arm: result.row() for arm, result in on_boilerplate.items()},
            "selection": details,
            "selection by nested models": nested_details,
            "charts": _charts(details, nested_details, results),
        },
    )


def _compare(
    seed: int, clause: str, results: Mapping[str, _Student], treatment: str, control: str, quantity: str
) -> list[Observation]:
    return [
        Observation(clause=clause, arm=arm, seed=seed, value=float(getattr(results[arm], quantity)))
        for arm in (treatment, control)
    ]


# --- treatment and controls ---------------------------------------------------------------------------


def _selections(
    world: _World, pool: Sequence[Text], references: Sequence[_Reference], arms: Sequence[str], null: bool
) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """The texts of each of `arms` out of one pool, and what was selected, by kind."""
    documents = [Document(id=text.id, text=text.text, source=text.kind) for text in pool]
    sizes = [len(document.text) for document in documents]
    ids = [document.id for document in documents]
    rng = np.random.default_rng([world.seed, 11])
    sample = [documents[i] for i in sorted(rng.choice(len(documents), world.size.seed_sample, replace=False))]
    losses = np.stack([world.nats(model.model, [d.text for d in sample]) for model in references], axis=1)
    ability = [model.ability for model in references]
    method = PreSelect(
        positives="quantile", min_per_class=world.size.min_per_class, scorer="fasttext",
        bucket=world.size.bucket, seed=world.seed,
    ).fit(sample, losses, ability)  # fmt: skip
    scores = np.fromiter(method.score(documents), dtype=np.float32, count=len(documents))
    budget: dict[str, Any] = {"sizes": sizes, "fraction": FRACTION, "ids": ids, "seed": world.seed}
    chosen = {
        "preselect": select_by_score(scores, **budget),
        "random": random_selection(**budget),
        "inverse": select_by_score(-scores, **budget),
    }
    if null:
        chosen["preselect"] = random_selection(**{**budget, "seed": world.seed + 1_000_003})
    if "lowest-perplexity" in arms:
        best = references[int(np.argmax(ability))]
        texts = [document.text for document in documents]
        chosen["lowest-perplexity"] = lowest_loss_selection(
            bits_per_char(world.nats(best.model, texts), texts), **budget
        )
    chosen = {arm: chosen[arm] for arm in arms}
    kinds = np.array([document.source for document in documents])
    shares = {
        arm: {kind: float(np.mean(kinds[selection.indices] == kind)) for kind in sorted(set(kinds))}
        for arm, selection in chosen.items()
    }
    strength = method.strength_
    of_sample = np.array([document.source for document in sample])
    details = {
        "share of kinds": shares,
        "strength by kind": {k: float(np.nanmean(strength[of_sample == k])) for k in sorted(set(of_sample))},
        "share at strength 1": {
            k: float(np.mean(strength[of_sample == k] == 1)) for k in sorted(set(of_sample))
        },
        "ability": ability,
        "scorer, held out": method.report_.as_dict() if method.report_ else {},
    }
    return {arm: [documents[i].text for i in s.indices] for arm, s in chosen.items()}, details


@dataclass(frozen=True)
class _Reference:
    model: Any
    ability: float


@dataclass(frozen=True)
class _Student:
    bits: float  # per character of held-out prose
    accuracy: float  # per cent of cloze items

    def row(self) -> dict[str, float]:
        return {"bits per character": self.bits, "cloze accuracy, %": self.accuracy}


class _World:
    """One seed's texts, tokenizer and models. No text is in two of: benchmark, reference mixes, pools."""

    def __init__(self, seed: int, size: Size) -> None:
        from firsthand.lm import train_tokenizer

        self.seed, self.size = seed, size
        rng = np.random.default_rng([seed, 3])
        texts = {}
        for kind in KINDS:
            corpus = python_text(
                KINDS[kind],
                packages=size.packages,
                min_chars=min(300, size.chars),
                max_chars=size.chars,
                limit=size.limit,
            )
            # A cut can make two documents equal that were not: identical ones must not end up on both sides.
            distinct = sorted(set(corpus.texts))
            texts[kind] = [distinct[i] for i in rng.permutation(len(distinct))]
        prose = texts["prose"]
        self.for_ability, self.for_report = (
            prose[: size.benchmark],
            prose[size.benchmark : 2 * size.benchmark],
        )
        rest = {"prose": prose[2 * size.benchmark :], "code": texts["code"]}
        # Reference models read one half of what is left, pools are made of the other.
        self.to_read = {kind: found[: len(found) // 2] for kind, found in rest.items()}
        self.to_pool = {kind: found[len(found) // 2 :] for kind, found in rest.items()}
        self.tokenizer = train_tokenizer(
            [text.text for text in self._mix(POOL, 2 * size.reference_documents, 5)], size.vocabulary
        )
        self.ability_items = cloze_items(self.for_ability, size.items, seed=seed)
        self.report_items = cloze_items(self.for_report, size.items, seed=seed)

    def _mix(self, shares: Mapping[str, float], count: int, stream: int) -> tuple[Text, ...]:
        rng = np.random.default_rng([self.seed, stream])
        return mixture(rng, count, shares, self.to_read, chars=self.size.chars)

    def pool(self, shares: Mapping[str, float]) -> tuple[Text, ...]:
        """What is selected from."""
        return mixture(
            np.random.default_rng([self.seed, 7]), self.size.pool, shares, self.to_pool, chars=self.size.chars
        )

    def diverse_references(self) -> list[_Reference]:
        """Models that each read another mix of the pool's kinds, its shares drawn from Dirichlet(1)."""
        rng = np.random.default_rng([self.seed, 13])
        found = []
        for number in range(self.size.references):
            drawn = rng.dirichlet(np.ones(len(POOL)))
            shares = dict(zip(POOL, (drawn / drawn.sum()).tolist(), strict=True))
            mix = self._mix(shares, self.size.reference_documents, 100 + number)
            found.append(self._reference([text.text for text in mix], number))
        return found

    def nested_references(self) -> list[_Reference]:
        """Models that read more and more of one mix, the boilerplate pool's own."""
        mix = [text.text for text in self._mix(BOILERPLATE_POOL, max(self.size.nested), 200)]
        return [self._reference(mix[:count], 50 + number) for number, count in enumerate(self.size.nested)]

    def _reference(self, texts: Sequence[str], number: int) -> _Reference:
        model = self._train(texts, self.size.reference_shape, self.size.reference_passes, number)
        return _Reference(model, cloze_probability(self._cloze(model, self.ability_items)))

    def student(self, texts: Sequence[str]) -> _Student:
        """A fresh student on one arm's texts; the same first weights and as many tokens in every arm."""
        model = self._train(texts, self.size.student_shape, self.size.student_passes, 99)
        bits = bits_per_char(self.nats(model, self.for_report), self.for_report)
        characters = np.array([len(text) for text in self.for_report])
        return _Student(
            bits=float(np.average(bits, weights=characters)),
            accuracy=100 * cloze_accuracy(self._cloze(model, self.report_items)),
        )

    def _train(self, texts: Sequence[str], shape: tuple[int, int, int], passes: float, number: int) -> Any:
        from firsthand.lm import packed, tiny_llama, train

        width, layers, heads = shape
        model = tiny_llama(
            len(self.tokenizer), width=width, layers=layers, heads=heads,
            seed=self.seed * 100 + number, context=self.size.context,
        )  # fmt: skip
        batch = self.size.batch
        # Equal characters give unequal tokens: the number of steps follows the characters, not the tokens.
        characters = sum(len(text) for text in texts)
        steps = max(4, round(passes * characters / 2.5 / (batch * self.size.context)))
        train(
            model, packed(self.tokenizer, texts), steps=steps, batch=batch, context=self.size.context,
            learning_rate=3e-3, warmup=max(1, steps // 20), seed=self.seed * 100 + number, device="cpu",
        )  # fmt: skip
        return model

    def nats(self, model: Any, texts: Sequence[str]) -> Any:
        """Total nats of each text, each on its own."""
        from firsthand.lm import document_losses

        return document_losses(self._named(model), texts, **self._windows).nats

    def _cloze(self, model: Any, items: Sequence[ClozeItem]) -> Any:
        return cloze_log_probabilities(self._named(model), items, **self._windows)

    @property
    def _windows(self) -> dict[str, Any]:
        return {"block": self.size.context, "stride": self.size.context // 2}

    def _named(self, model: Any) -> Any:
        from firsthand.lm import LanguageModel

        return LanguageModel("trained here", model, self.tokenizer, "tiny", "Apache-2.0")


# --- for the system's page ------------------------------------------------------------------------------


def _charts(
    diverse: Mapping[str, Any], nested: Mapping[str, Any], results: Mapping[str, _Student]
) -> list[dict[str, Any]]:
    def kinds(details: Mapping[str, Any], title: str) -> dict[str, Any]:
        shares = details["share of kinds"]
        return {
            "kind": "bar",
            "title": title,
            "y_label": "share of the selected documents",
            "series": [
                {"name": arm, "x": list(shares[arm]), "y": list(shares[arm].values())}
                for arm in ("preselect", "random")
            ],
        }

    strengths = [
        ("diverse models", diverse["strength by kind"]),
        ("nested models", nested["strength by kind"]),
    ]
    return [
        kinds(diverse, "What is selected, diverse reference models"),
        {
            "kind": "bar",
            "title": "Bits per character of held-out prose after training on each arm",
            "y_label": "bits per character (fewer is better)",
            "series": [{"name": "student", "x": list(results), "y": [r.bits for r in results.values()]}],
        },
        kinds(nested, "What is selected, nested reference models on a pool with boilerplate"),
        {
            "kind": "bar",
            "title": "Mean predictive strength by kind of document",
            "y_label": "strength S",
            "series": [{"name": name, "x": list(by), "y": list(by.values())} for name, by in strengths],
        },
    ]
