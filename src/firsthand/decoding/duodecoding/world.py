"""The models and prompts of the check: one pair trained on Python functions, its draft run in two ways.

Both drafts have the same weights and propose the same tokens. Run through transformers the draft takes about
a fifth of the target's time, run bare (`LeanLlama`) less than a twentieth: what differs between the two
cells of the experiment is the ratio c of their times, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from firsthand.decoding.duodecoding.scales import Size
from firsthand.decoding.duodecoding.workers import DraftRecipe
from firsthand.decoding.functions import Functions, python_functions
from firsthand.lm.decoding import CausalLM

__all__ = ["Pair", "load_framework", "load_lean", "make_pair", "pinned"]


@dataclass(frozen=True)
class Pair:
    """A target, where its draft lies, and the text that both were trained on and are asked about."""

    target: CausalLM
    draft_folder: Path
    text: Functions

    def draft(self, cell: str) -> CausalLM:
        """The draft in this process, run as the cell says: "slow" (transformers) or "fast" (bare)."""
        return {"slow": load_framework, "fast": load_lean}[cell](str(self.draft_folder))

    def recipe(self, cell: str) -> DraftRecipe:
        """The same for a process of its own."""
        return DraftRecipe({"slow": load_framework, "fast": load_lean}[cell], (str(self.draft_folder),))


def load_framework(folder: str) -> CausalLM:
    """A model folder, run by transformers."""
    from firsthand.lm.decoding.huggingface import HFCausalLM

    return HFCausalLM.from_pretrained(folder, device="cpu", dtype="float32")


def load_lean(folder: str) -> CausalLM:
    """A model folder, run bare."""
    from firsthand.lm.decoding.lean import LeanLlama
    from firsthand.lm.models import load

    return LeanLlama(load(folder, device="cpu", dtype="float32").model)


def make_pair(size: Size) -> Pair:
    """Train the pair, or take it from the cache."""
    from firsthand.lm.decoding.huggingface import HFCausalLM
    from firsthand.lm.shelf import trained_folder, trained_model

    text = python_functions(size.vocabulary, size.limit)
    target = trained_model(size.target, text.read, text.tokenizer)
    folder = trained_folder(size.draft, text.read, text.tokenizer)
    return Pair(HFCausalLM(target, name="target"), folder, text)


@contextmanager
def pinned() -> Iterator[tuple[int, int] | None]:
    """This process on one core, and the number of another one for the draft; None where there is but one."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield None
        return
    os.sched_setaffinity(0, {cores[1]})
    try:
        yield cores[1], cores[0]
    finally:
        os.sched_setaffinity(0, set(cores))
