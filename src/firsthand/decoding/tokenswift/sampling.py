"""The paper's sampling: temperature 1, min-p 0.1, and a repetition penalty of 1.2 over the last 1 024 tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from firsthand.lm.decoding import SamplingParams

__all__ = ["long_sampling", "reuse_lag"]

_PAPER = SamplingParams(temperature=1.0, min_p=0.1, repetition_penalty=1.2, penalty_window=1024)


def long_sampling(**changes: Any) -> SamplingParams:
    """The paper's settings for very long texts, with `changes` to any field of `SamplingParams`.

    `min_tokens_to_keep` is 1; the official code keeps at least 20 tokens whatever min-p or η says, so
    `long_sampling(min_tokens_to_keep=20)` is its setting.
    """
    return replace(_PAPER, **changes)


def reuse_lag(sampling: SamplingParams) -> int:
    """How far the n-gram table stays behind the text: re-using what the penalty forbids is pointless."""
    return (sampling.penalty_window or 0) if sampling.penalises else 0
