"""DuoDecoding: a small model drafts while the large one checks (arXiv 2503.00784).

`DuoDecoder(target, draft).generate(prompt_ids, 128)` gives the target's own text, token for token, with both
models at work at the same time: the draft budget is set so that drafting takes as long as checking, and a
draft model that is unsure of its next token splits the budget over several continuations.
"""

from firsthand.decoding.duodecoding.budget import HardwareProfile, draft_budget, profile
from firsthand.decoding.duodecoding.decoder import DuoDecoder
from firsthand.decoding.duodecoding.drafting import DraftSettings
from firsthand.decoding.duodecoding.errors import DraftWorkerError
from firsthand.decoding.duodecoding.result import DuoResult, Round
from firsthand.decoding.duodecoding.sequences import num_sequences
from firsthand.decoding.duodecoding.theory import (
    expected_tokens_per_round,
    predicted_ratio,
    serial_tokens_per_step,
    virtual_time,
)
from firsthand.decoding.duodecoding.workers import DraftRecipe

__all__ = [
    "DraftRecipe",
    "DraftSettings",
    "DraftWorkerError",
    "DuoDecoder",
    "DuoResult",
    "HardwareProfile",
    "Round",
    "draft_budget",
    "expected_tokens_per_round",
    "num_sequences",
    "predicted_ratio",
    "profile",
    "serial_tokens_per_step",
    "virtual_time",
]
