"""One seed's world: texts dealt to benchmark, reference mixes and pools, and the models that read them.

Knows how to hold texts out, mix them, train and score a model of the size it was given; knows nothing of
what is compared with what (`check`).
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from firsthand.corpora import mixture, python_text
from firsthand.corpora.documents import Document
from firsthand.data.preselect.cloze import (
    ClozeItem,
    cloze_accuracy,
    cloze_items,
    cloze_log_probabilities,
    cloze_probability,
)
from firsthand.data.preselect.scales import Shape, Size
from firsthand.data.preselect.text import bits_per_char
from firsthand.errors import InputError

__all__ = ["BOILERPLATE_POOL", "POOL", "Reference", "Student", "World", "hold_out", "repeatable"]

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


@dataclass(frozen=True)
class Reference:
    """A reference model and its ability: the mean probability of the right answer in a 4-way cloze."""

    model: Any
    ability: float


@dataclass(frozen=True)
class Student:
    """What a student makes of held-out prose: bits per character, and per cent of its cloze items."""

    bits: float
    accuracy: float

    def row(self) -> dict[str, float]:
        """By names that say the unit."""
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


@contextlib.contextmanager
def repeatable(device: str) -> Iterator[None]:
    """On CUDA: kernels that give the same bits every time, or an error where torch has none.

    On a processor one thread is enough, which is the launcher's business.
    """
    if not device.startswith("cuda"):
        yield
        return
    import torch

    # cuBLAS reads this when it makes its workspace: a process that has used CUDA before raises instead.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


class World:
    """One seed's texts, tokenizer and models. No text is in two of: benchmark, reference mixes, pools.

    Models are trained and score on `device` in `dtype` (autocast where that is not float32); their
    weights stay float32.
    """

    def __init__(self, seed: int, size: Size, device: str = "cpu", dtype: str = "float32") -> None:
        from firsthand.lm import train_tokenizer

        self.seed, self.size, self.device, self.dtype = seed, size, device, dtype
        rng = np.random.default_rng([seed, 3])
        texts, self.harvested = {}, {}
        for kind, cut in KINDS.items():
            corpus = python_text(
                cut,
                packages=size.packages,
                min_chars=min(300, size.chars),
                max_chars=size.chars,
                limit=size.limit,
            )
            self.harvested[kind] = corpus.hash
            distinct = sorted(set(corpus.texts))  # a cut can make two documents equal that were not
            texts[kind] = [distinct[i] for i in rng.permutation(len(distinct))]
        benchmark, rest = hold_out(texts, "prose", 2 * size.benchmark)
        self.for_ability, self.for_report = benchmark[: size.benchmark], benchmark[size.benchmark :]
        # Reference models read one part of what is left, pools are made of the other.
        self.to_read = {kind: found[: len(found) // 2] for kind, found in rest.items()}
        self.to_pool = {kind: found[len(found) // 2 :] for kind, found in rest.items()}
        self.tokenizer = train_tokenizer(
            [text.text for text in self._mix(POOL, 2 * size.reference_documents, 5)], size.vocabulary
        )
        self.ability_items, self.report_items = (
            cloze_items(held, count, tokenizer=self.tokenizer, seed=seed)
            for held, count in (
                (self.for_ability, size.ability_items),
                (self.for_report, size.report_items),
            )
        )

    def _mix(self, shares: Mapping[str, float], count: int, stream: int) -> tuple[Document, ...]:
        rng = np.random.default_rng([self.seed, stream])
        return mixture(rng, count, shares, self.to_read, chars=self.size.chars)

    def pool(self, shares: Mapping[str, float]) -> tuple[Document, ...]:
        """What is selected from."""
        return mixture(
            np.random.default_rng([self.seed, 7]), self.size.pool, shares, self.to_pool, chars=self.size.chars
        )

    def mixes(self) -> list[dict[str, float]]:
        """The shares of kinds that each diverse reference model reads, drawn from Dirichlet(1)."""
        rng = np.random.default_rng([self.seed, 13])
        drawn = [rng.dirichlet(np.ones(len(POOL))) for _ in range(self.size.references)]
        return [dict(zip(POOL, (shares / shares.sum()).tolist(), strict=True)) for shares in drawn]

    def diverse_references(self) -> list[Reference]:
        """Models that each read another mix of the pool's kinds."""
        found = []
        for number, shares in enumerate(self.mixes()):
            mix = self._mix(shares, self.size.reference_documents, 100 + number)
            shape = self.size.reference_shapes[number % len(self.size.reference_shapes)]
            found.append(self._reference([text.text for text in mix], shape, number))
        return found

    def nested_references(self) -> list[Reference]:
        """Models that read more and more of one mix, the boilerplate pool's own."""
        mix = [text.text for text in self._mix(BOILERPLATE_POOL, max(self.size.nested), 200)]
        return [
            self._reference(mix[:count], self.size.nested_shape, 50 + number)
            for number, count in enumerate(self.size.nested)
        ]

    def _reference(self, texts: Sequence[str], shape: Shape, number: int) -> Reference:
        characters = self.size.reference_passes * sum(map(len, texts))
        model = self._train(texts, shape, characters, number)
        return Reference(model, cloze_probability(self._cloze(model, self.ability_items)))

    def student(self, texts: Sequence[str], number: int = 0) -> Student:
        """A fresh student on one arm's texts: the same first weights and as many tokens read in every arm.

        `number` makes other first weights and another order of reading.
        """
        model = self._train(texts, self.size.student_shape, self.size.student_characters, 90 + number)
        bits = bits_per_char(self.nats(model, self.for_report), self.for_report)
        return Student(
            bits=float(np.average(bits, weights=[len(text) for text in self.for_report])),
            accuracy=100 * cloze_accuracy(self._cloze(model, self.report_items)),
        )

    def _train(self, texts: Sequence[str], shape: Shape, characters: float, number: int) -> Any:
        """A model that has read about `characters` of `texts`, over and over."""
        from firsthand.lm import packed, tiny_llama, train

        seed, steps = self.seed * 100 + number, self.size.steps(characters)
        model = tiny_llama(len(self.tokenizer), **shape._asdict(), seed=seed, context=self.size.context)
        train(
            model, packed(self.tokenizer, texts), steps=steps, batch=self.size.batch, context=self.size.context,
            learning_rate=self.size.learning_rate, warmup=max(1, steps // 20), seed=seed,
            device=self.device, dtype=self.dtype,
        )  # fmt: skip
        return model

    def nats(self, model: Any, texts: Sequence[str]) -> Any:
        """Total nats of each text, each on its own."""
        from firsthand.lm import document_losses

        with self._precision():
            return document_losses(self._named(model), texts, **self._windows).nats

    def _cloze(self, model: Any, items: Sequence[ClozeItem]) -> Any:
        with self._precision():
            return cloze_log_probabilities(self._named(model), items, **self._windows)

    def _precision(self) -> Any:
        """Scores are computed as weights were trained."""
        import torch

        from firsthand.lm.backend import resolve_device, resolve_dtype

        place = resolve_device(self.device)
        number = resolve_dtype(self.dtype, place)
        return torch.autocast(place.type, dtype=number, enabled=number is not torch.float32)

    @property
    def _windows(self) -> dict[str, Any]:
        context = self.size.context
        return {"block": context, "stride": 3 * context // 4, "batch_tokens": self.size.batch_tokens}

    def _named(self, model: Any) -> Any:
        from firsthand.lm import LanguageModel

        return LanguageModel("trained here", model, self.tokenizer, "tiny", "Apache-2.0")
