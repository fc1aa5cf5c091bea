"""From one row of logits to one token: filters in a fixed order, and one draw a position.

The draw is inverse-CDF with a uniform number that depends on the seed and on the token's position alone
(Philox with the seed as key and the position as counter). Whatever order a decoder looks at positions in,
and however often, position i of a text gets one number: that is why speculation can give plain decoding's
text token for token, at any temperature.

Rows are filtered in float64 with NumPy on the CPU, so the same logits give the same token on every device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.lm.decoding.protocol import NonFiniteLogitsError

__all__ = ["Sampler", "SamplingParams", "filtered_probabilities", "uniform"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SamplingParams:
    """How a token is chosen from logits; the filters apply in this order.

    Attributes:
        banned_ids: never chosen.
        temperature: 0 is greedy (the first of the largest), else logits are divided by it.
        repetition_penalty: θ; a token among the last `penalty_window` ones has its logit divided by θ where
            positive and multiplied where negative, once however often it occurred. 1 is off.
        penalty_window: how many last tokens (prompt included) are penalised; None is all of them, 0 none.
        min_p: tokens of less than `min_p` times the largest probability go.
        eta: η sampling's ε: tokens below min(ε, √ε·exp(−entropy)) go. 0 is off.
        top_k: only the k most probable stay. 0 is off.
        top_p: only the smallest set of the most probable whose sum reaches `top_p` stays. 1 is off.
        min_tokens_to_keep: min-p, η and top-p leave at least so many.
        seed: keys the draws.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    eta: float = 0.0
    repetition_penalty: float = 1.0
    penalty_window: int | None = None
    min_tokens_to_keep: int = 1
    banned_ids: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            (
                self.temperature >= 0 and math.isfinite(self.temperature),
                f"temperature {self.temperature}: at least 0",
            ),
            (self.top_k >= 0, f"top_k {self.top_k}: at least 0 (0 is off)"),
            (0 < self.top_p <= 1, f"top_p {self.top_p}: above 0, at most 1"),
            (0 <= self.min_p <= 1, f"min_p {self.min_p}: from 0 to 1"),
            (0 <= self.eta < 1, f"eta {self.eta}: from 0, below 1"),
            (
                self.repetition_penalty > 0 and math.isfinite(self.repetition_penalty),
                f"repetition_penalty {self.repetition_penalty}: above 0",
            ),
            (
                self.penalty_window is None or self.penalty_window >= 0,
                f"penalty_window {self.penalty_window}: at least 0, or None for the whole text",
            ),
            (self.min_tokens_to_keep >= 1, f"min_tokens_to_keep {self.min_tokens_to_keep}: at least 1"),
            (0 <= self.seed < 2**64, f"seed {self.seed}: from 0, below 2^64"),
        ]
        for fine, message in problems:
            if not fine:
                raise InputError(message)
        object.__setattr__(self, "banned_ids", tuple(int(token) for token in self.banned_ids))

    @property
    def greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature == 0

    @property
    def penalises(self) -> bool:
        """Whether what was said before changes what comes next."""
        return self.repetition_penalty != 1 and self.penalty_window != 0


def uniform(seed: int, position: int) -> float:
    """The one number in [0, 1) that decides position `position` of a text sampled with `seed`."""
    return float(np.random.Generator(np.random.Philox(key=seed, counter=position)).random())


def filtered_probabilities(
    logits: NDArray[Any], params: SamplingParams, recent: Iterable[int] = ()
) -> Floats:
    """The distribution (V,) that a token is drawn from; at temperature 0 it is one-hot.

    `recent` are the tokens inside the penalty window, in any order, repeats allowed.
    """
    scores = _scores(logits, params, recent)
    if params.greedy:
        one_hot = np.zeros_like(scores)
        one_hot[int(np.argmax(scores))] = 1.0
        return one_hot
    return _filtered(scores, params)


def _scores(logits: NDArray[Any], params: SamplingParams, recent: Iterable[int]) -> Floats:
    """Logits after bans, temperature and penalty, as a new float64 array."""
    scores = np.array(logits, dtype=np.float64)  # a copy: filters write into it
    if params.banned_ids:
        scores[list(params.banned_ids)] = -np.inf
    if not params.greedy and params.temperature != 1:
        scores /= params.temperature
    if params.penalises:
        tokens = np.fromiter(set(recent), dtype=np.int64)
        if tokens.size:
            seen = scores[tokens]
            theta = params.repetition_penalty
            scores[tokens] = np.where(seen >= 0, seen / theta, seen * theta)
    return scores


def _filtered(scores: Floats, params: SamplingParams) -> Floats:
    scores -= scores.max()
    p = np.exp(scores)
    p /= p.sum()
    floor = params.min_tokens_to_keep
    if params.min_p > 0:
        p = _keep(p, p >= params.min_p * p.max(), floor)
    if params.eta > 0:
        positive = p[p > 0]
        entropy = float(-(positive * np.log(positive)).sum())
        p = _keep(p, p >= min(params.eta, math.sqrt(params.eta) * math.exp(-entropy)), floor)
    if 0 < params.top_k < p.size:
        kept = np.zeros(p.size, dtype=bool)
        kept[_largest(p, params.top_k)] = True
        p = _keep(p, kept, 1)
    if params.top_p < 1:
        p = _keep(p, _nucleus(p, params.top_p), floor)
    return p


def _keep(p: Floats, kept: NDArray[np.bool_], floor: int) -> Floats:
    """`p` with only the `kept` tokens, and at least the `floor` most probable, renormalised."""
    if floor > 1 and int(kept.sum()) < floor:
        kept = kept.copy()
        kept[_largest(p, min(floor, p.size))] = True
    p = np.where(kept, p, 0.0)
    p /= p.sum()
    return p


def _largest(p: Floats, count: int) -> NDArray[np.int64]:
    """The `count` most probable tokens in order; equal ones by token id."""
    if count < p.size:
        # All that could belong: ties at the edge are settled by id, not by the partition's whim.
        edge = np.partition(p, p.size - count)[p.size - count]
        candidates = np.flatnonzero(p >= edge)
    else:
        candidates = np.arange(p.size)
    order = np.lexsort((candidates, -p[candidates]))
    return candidates[order][:count]


def _nucleus(p: Floats, top_p: float) -> NDArray[np.bool_]:
    """The smallest set of the most probable tokens whose probabilities reach `top_p`."""
    kept = np.zeros(p.size, dtype=bool)
    count = min(256, p.size)
    while True:  # most mass lies in few tokens: sorting a whole vocabulary is rarely needed
        largest = _largest(p, count)
        total = np.cumsum(p[largest])
        if total[-1] >= top_p or count == p.size:
            kept[largest[: int(np.searchsorted(total, top_p)) + 1]] = True
            return kept
        count = min(8 * count, p.size)


@dataclass(frozen=True)
class Sampler:
    """Chooses tokens of one text: bound to its parameters, and to a name for errors.

    `window(ids)` cuts from a text what the penalty looks at; a decoder that looks ahead passes the tokens of
    the path it is on, so that position i is judged by the same window as in plain decoding.
    """

    params: SamplingParams
    model: str = "the model"

    def window(self, ids: Sequence[int]) -> Sequence[int]:
        """The last tokens of `ids` that the penalty looks at; empty where there is none."""
        if not self.params.penalises:
            return ()
        width = self.params.penalty_window
        return ids if width is None else ids[max(0, len(ids) - width) :]

    def probabilities(self, logits: Any, ids: Sequence[int]) -> Floats:
        """The distribution (V,) of the token after `ids`, from its row of logits (V,)."""
        return filtered_probabilities(as_row(logits, self.model, len(ids)), self.params, self.window(ids))

    def draw(self, logits: Any, ids: Sequence[int]) -> int:
        """The token after `ids` (all tokens before it, prompt included), from its row of logits (V,).

        Its position in the text is `len(ids)`: that, the seed and the logits decide it. Raises
        `NonFiniteLogitsError` for NaN.
        """
        row = as_row(logits, self.model, len(ids))
        scores = _scores(row, self.params, self.window(ids))
        best = int(np.argmax(scores))
        if not scores[best] > -np.inf:
            raise InputError("every token is banned; nothing is left to choose")
        return best if self.params.greedy else self.pick(_filtered(scores, self.params), len(ids))

    def guesses(
        self, logits: Any, ids: Sequence[int], *, count: int = 1, ahead: int = 0, drawn: bool = False
    ) -> list[int]:
        """The `count` best guesses, distinct and best first, for the token `ahead` places after the one next.

        They are the most probable tokens of the row (V,) after bans and penalty; with `drawn` (and a
        temperature) the first is the token that the position's own number falls on, which is what the model
        itself would take if the row were its own.
        """
        row = as_row(logits, self.model, len(ids) + ahead)
        scores = _scores(row, self.params, self.window(ids))
        best: list[int] = _largest(scores, min(count, scores.size)).tolist()
        if not drawn or self.params.greedy:
            return best
        first = self.pick(_filtered(scores, self.params), len(ids) + ahead)
        return [first, *(token for token in best if token != first)][:count]

    def pick(self, p: Floats, position: int) -> int:
        """The token that `position`'s uniform number falls on in the distribution `p` (V,)."""
        total = np.cumsum(p)
        at = self.uniform(position) * total[-1]
        return min(int(np.searchsorted(total, at, side="right")), int(np.flatnonzero(p)[-1]))

    def uniform(self, position: int) -> float:
        """This seed's number for `position`."""
        return uniform(self.params.seed, position)


def as_row(logits: Any, model: str, position: int) -> NDArray[Any]:
    """A row of logits as a NumPy array on the CPU; raises `NonFiniteLogitsError` for NaN or +inf."""
    if hasattr(logits, "detach"):
        tensor = logits.detach()
        if tensor.dtype.itemsize < 4:  # NumPy has no bfloat16
            tensor = tensor.float()
        logits = tensor.cpu().numpy()
    row: NDArray[Any] = np.asarray(logits)
    highest = row.max()
    if not highest < np.inf or highest == -np.inf:  # NaN wins every max
        raise NonFiniteLogitsError(
            f"{model} gave logits with {highest} as their largest value at position {position}; "
            "its weights are damaged, or its precision is too low (try dtype float32)"
        )
    return row
