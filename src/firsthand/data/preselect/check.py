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

from collections import Counter
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
from firsthand.errors import InputError

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
CONTROLS = ("random", "lowest-perplexity", "inverse")
CLAIMS = (
    "beats-random", "answers-better-than-random", "beats-lowest-perplexity", "beats-inverse", "needs-diverse-models",
)  # fmt: skip
LEAST_ABILITY = 0.30


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
        chars=600, pool=4_000, seed_sample=1_000, references=6, reference_documents=400,
        nested=(40, 80, 160, 240, 320), reference_shape=(64, 2, 2), reference_passes=3,
        student_shape=(96, 2, 3), student_passes=3, benchmark=200, items=800, vocabulary=1_024, context=256, batch=2,
        packages=("stdlib", "numpy", "scipy", "sklearn", "torch"), limit=None, bucket=200_000, min_per_class=50,
    ),
}  # fmt: skip


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """One seed: its texts, reference models, selections and students.

    With `null` each control's student meets another one of the same texts, with first weights and an order
    of reading of its own, in the place of PreSelect's.
    """
    world = _World(seed, SIZES[scale])
    # Treatment and controls: what each arm's student reads.
    references = world.diverse_references()
    arms, details = _selections(world, world.pool(POOL), references, ("preselect", *CONTROLS))
    nested = world.nested_references()
    nested_arms, nested_details = _selections(
        world, world.pool(BOILERPLATE_POOL), nested, ("preselect", "random")
    )
    # Measurement.
    students = {arm: world.student(texts) for arm, texts in arms.items()}
    nested_students = {arm: world.student(texts) for arm, texts in nested_arms.items()}
    observations = []
    for clause, texts, found, control, quantity in (
        ("bits-beat-random", arms, students, "random", "bits"),
        ("accuracy-beats-random", arms, students, "random", "accuracy"),
        ("bits-beat-lowest-perplexity", arms, students, "lowest-perplexity", "bits"),
        ("bits-beat-inverse", arms, students, "inverse", "bits"),
        ("nested-lose-to-random", nested_arms, nested_students, "random", "bits"),
    ):
        treated = world.student(texts[control], number=1) if null else found["preselect"]
        for arm, student in (("preselect", treated), (control, found[control])):
            value = float(getattr(student, quantity))
            observations.append(Observation(clause=clause, arm=arm, seed=seed, value=value))
    return Measurement(
        observations=tuple(observations),
        gates=(
            _learned(
                references, scale, "the diverse", tuple(c for c in CLAIMS if c != "needs-diverse-models")
            ),
            _learned(nested, scale, "the nested", ("needs-diverse-models",)),
        ),
        candidates=dict.fromkeys(arms, world.size.pool),
        details={
            "students": {arm: student.row() for arm, student in students.items()},
            "students on the boilerplate pool": {
                arm: student.row() for arm, student in nested_students.items()
            },
            "selection": details,
            "selection by nested models": nested_details,
            "charts": _charts(details, nested_details, students),
        },
    )


def _learned(models: Sequence[_Reference], scale: str, which: str, claims: tuple[str, ...]) -> Gate:
    """Abilities that are all near chance order the models by luck, and strength with them."""
    best = max(model.ability for model in models)
    return Gate(
        name=f"{which} reference models learn",
        passed=scale == "smoke" or best > LEAST_ABILITY,
        detail=f"the best gives the right answer {best:.1%} on average; chance is 25 %, {LEAST_ABILITY:.0%} is wanted",
        claims=claims,
    )


# --- treatment and controls ---------------------------------------------------------------------------


def _selections(
    world: _World, pool: Sequence[Text], references: Sequence[_Reference], arms: Sequence[str]
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


def hold_out(
    texts: Mapping[str, Sequence[str]], kind: str, count: int
) -> tuple[list[str], dict[str, list[str]]]:
    """The first `count` texts of `kind` that share no long line with any other text, and all the rest.

    Documentation repeats itself: parameter lists and warnings stand in many docstrings to the letter. A
    benchmark that shares lines with what models read would pay for memory, and pay the arm most that
    holds most prose. A long line has 40 characters or more.
    """
    lines = {
        text: {line.strip() for line in text.splitlines() if len(line.strip()) >= 40} for text in texts[kind]
    }
    others = (text for name, found in texts.items() if name != kind for text in found)
    seen = Counter(line for found in lines.values() for line in found)
    seen.update({line.strip() for text in others for line in text.splitlines()} & set(seen))
    chosen = [text for text in texts[kind] if all(seen[line] == 1 for line in lines[text])][:count]
    if len(chosen) < count:
        raise InputError(
            f"only {len(chosen)} texts of kind {kind!r} share no long line with others; {count} are needed"
        )
    held = set(chosen)
    return chosen, {name: [text for text in found if text not in held] for name, found in texts.items()}


class _World:
    """One seed's texts, tokenizer and models. No text is in two of: benchmark, reference mixes, pools."""

    def __init__(self, seed: int, size: Size) -> None:
        from firsthand.lm import train_tokenizer

        self.seed, self.size = seed, size
        rng = np.random.default_rng([seed, 3])
        texts = {}
        for kind, harvested in KINDS.items():
            corpus = python_text(
                harvested,
                packages=size.packages,
                min_chars=min(300, size.chars),
                max_chars=size.chars,
                limit=size.limit,
            )
            distinct = sorted(set(corpus.texts))  # a cut can make two documents equal that were not
            texts[kind] = [distinct[i] for i in rng.permutation(len(distinct))]
        benchmark, rest = hold_out(texts, "prose", 2 * size.benchmark)
        self.for_ability, self.for_report = benchmark[: size.benchmark], benchmark[size.benchmark :]
        # Reference models read one half of what is left, pools are made of the other.
        self.to_read = {kind: found[: len(found) // 2] for kind, found in rest.items()}
        self.to_pool = {kind: found[len(found) // 2 :] for kind, found in rest.items()}
        self.tokenizer = train_tokenizer(
            [text.text for text in self._mix(POOL, 2 * size.reference_documents, 5)], size.vocabulary
        )
        self.ability_items, self.report_items = (
            cloze_items(held, size.items, tokenizer=self.tokenizer, seed=seed)
            for held in (self.for_ability, self.for_report)
        )

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
        characters = self.size.reference_passes * sum(map(len, texts))
        model = self._train(texts, self.size.reference_shape, characters, number)
        return _Reference(model, cloze_probability(self._cloze(model, self.ability_items)))

    def student(self, texts: Sequence[str], number: int = 0) -> _Student:
        """A fresh student on one arm's texts: the same first weights and as many tokens read in every arm.

        `number` makes other first weights and another order of reading.
        """
        characters = FRACTION * self.size.pool * self.size.chars
        model = self._train(
            texts, self.size.student_shape, self.size.student_passes * characters, 90 + number
        )
        bits = bits_per_char(self.nats(model, self.for_report), self.for_report)
        return _Student(
            bits=float(np.average(bits, weights=[len(text) for text in self.for_report])),
            accuracy=100 * cloze_accuracy(self._cloze(model, self.report_items)),
        )

    def _train(
        self, texts: Sequence[str], shape: tuple[int, int, int], characters: float, number: int
    ) -> Any:
        """A model that has read about `characters` of `texts`, over and over."""
        from firsthand.lm import packed, tiny_llama, train

        width, layers, heads = shape
        model = tiny_llama(
            len(self.tokenizer), width=width, layers=layers, heads=heads,
            seed=self.seed * 100 + number, context=self.size.context,
        )  # fmt: skip
        batch = self.size.batch
        # Equal characters make unequal tokens (hex dumps most): steps follow characters, at 2.5 a token.
        steps = max(4, round(characters / 2.5 / (batch * self.size.context)))
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
