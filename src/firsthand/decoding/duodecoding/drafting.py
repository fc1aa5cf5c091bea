"""The draft's side of a round: one or several continuations of the text, drafted together (section 3.3).

Knows the draft model, its cache and the text; knows nothing of the target, nor of where this runs. Several
sequences are one tree in one cache: each draft pass reads the newest token of every sequence at once, and
the chosen sequence stays by `commit`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firsthand.decoding.duodecoding.sequences import divisor_at_most, num_sequences, ranked
from firsthand.errors import InputError
from firsthand.lm.backend import require
from firsthand.lm.decoding.protocol import CausalLM
from firsthand.lm.decoding.sampling import Sampler, SamplingParams

__all__ = ["Draft", "DraftRequest", "DraftSettings", "Drafter", "Update", "draft_random"]

Floats = NDArray[np.float64]
DraftMode = Literal["greedy", "coupled", "sample"]
INFINITE = float("inf")


@dataclass(frozen=True)
class DraftSettings:
    """What holds for a whole text.

    Attributes:
        mode: how drafted tokens are chosen: "greedy" the most probable one; "coupled" drawn from the draft's
            filtered distribution with the position's own uniform number, which the target will use too;
            "sample" drawn freely, with its distribution sent along. At temperature 0 all three are "greedy".
        sampling: the target's; penalties and bans apply to drafts too.
        sequences: "dynamic", or a fixed number (the largest divisor of the budget that is at most that).
        max_sequences: k is at most this.
    """

    mode: DraftMode = "greedy"
    sampling: SamplingParams = field(default_factory=SamplingParams)
    sequences: Literal["dynamic"] | int = "dynamic"
    max_sequences: int = 8


class Update(NamedTuple):
    """A change of the draft's text: of what it was keep `keep` tokens; then sequence `branch` (or none: −1) of the
    last draft; then `tokens`."""

    keep: int
    branch: int
    tokens: tuple[int, ...]


class DraftRequest(NamedTuple):
    """Bring the text up to date, then draft `budget` tokens over all sequences, none longer than `longest`.

    `round` numbers the round (free draws depend on it); after `limit_s` seconds drafting is given up.
    """

    updates: tuple[Update, ...]
    budget: int
    longest: int
    round: int
    limit_s: float = INFINITE


class Draft(NamedTuple):
    """What came of a request. Times are of the draft's own clock.

    `steps` counts tokens read by the draft, `passes` its forward passes. `first_q` (V,) is the distribution
    that the first tokens were drawn from and `chain_q[j]` (L − 1, V) those of the others; None unless
    sampled. A cancelled draft has no sequences.
    """

    sequences: tuple[tuple[int, ...], ...]
    steps: int
    passes: int
    started: float
    ended: float
    cancelled: bool = False
    first_q: Floats | None = None
    chain_q: tuple[Floats, ...] | None = None


class _CancelledError(Exception):
    """Drafting was given up between two passes; never seen outside."""


def draft_random(seed: int, number: int, side: int) -> np.random.Generator:
    """Free draws of round `number`: side 1 drafts, side 2 accepts. Apart from each other and from positions."""
    return np.random.Generator(np.random.Philox(key=seed, counter=(side << 192) + (number << 64)))


class Drafter:
    """Drafts for one text after another with `model`; `clock` gives seconds."""

    def __init__(self, model: CausalLM, clock: Callable[[], float] = time.perf_counter) -> None:
        self.model = model
        self._clock = clock
        self._cancelled: Callable[[], bool]
        self.begin(DraftSettings())

    def begin(self, settings: DraftSettings) -> None:
        """Forget the text; a new one begins."""
        sampling = settings.sampling
        self._settings = settings
        self._mode: DraftMode = "greedy" if sampling.greedy else settings.mode
        rules: dict[str, Any] = {
            "repetition_penalty": sampling.repetition_penalty,
            "penalty_window": sampling.penalty_window,
            "banned_ids": sampling.banned_ids,
        }
        self._untempered = Sampler(SamplingParams(temperature=1.0, **rules), self.model.name)
        chosen = SamplingParams(**rules) if self._mode == "greedy" else sampling
        self._chooser = Sampler(chosen, self.model.name)
        self._cache = self.model.new_cache()
        self._ids: list[int] = []
        self._base = 0  # the cache's entries from here on belong to the last draft, those before to the text
        self._sequences: list[list[int]] = []
        self._read: list[list[int]] = []  # of each sequence, the cache entries of the tokens that were read
        self._q: list[list[Floats]] = []  # of each sequence, what its tokens after the first were drawn from

    def draft(self, request: DraftRequest, cancelled: Callable[[], bool] = lambda: False) -> Draft:
        """One round of drafting; `cancelled` is asked before each pass but the first.

        Raises `NonFiniteLogitsError` naming the draft model for NaN.
        """
        started = self._clock()
        self._cancelled, self._due = cancelled, started + request.limit_s
        self._passes = self._steps = 0
        for update in request.updates:
            self._apply(update)
        self._base = len(self._ids)
        self._random = draft_random(self._settings.sampling.seed, request.round, 1)
        try:
            first_q = self._start(request.budget)
            length = min(request.budget // len(self._sequences), request.longest)
            if len(self._sequences) == 1:
                self._extend_one(length)
            else:
                self._extend_all(length)
        except _CancelledError:
            del self._ids[self._base :]
            self._sequences = []
            return Draft((), self._steps, self._passes, started, self._clock(), True)
        for tokens in self._sequences:  # the second token, drafted to choose k, may have no room
            del tokens[length:]
        found = tuple(tuple(tokens) for tokens in self._sequences)
        chain = None if first_q is None else tuple(self._stacked(q[: length - 1]) for q in self._q)
        return Draft(found, self._steps, self._passes, started, self._clock(), False, first_q, chain)

    def _stacked(self, rows: list[Floats]) -> Floats:
        return np.stack(rows) if rows else np.empty((0, self.model.vocab_size))

    def _apply(self, update: Update) -> None:
        if update.branch >= 0:
            tokens = self._sequences[update.branch]
            # The last token was not read, and the second may have been read where there was no room for it.
            self._cache.commit(self._base, self._read[update.branch][: len(tokens) - 1])
            self._ids += tokens
        else:
            self._cache.truncate(min(update.keep, self._base))
            del self._ids[update.keep :]
        self._base = len(self._ids)  # no entry of a draft is left
        self._ids += update.tokens

    # --- first tokens ----------------------------------------------------------------------------------

    def _start(self, budget: int) -> Floats | None:
        """The sequences' first tokens, k of them, and the second of sequence 1 where k depends on it."""
        settings = self._settings
        fixed = settings.sequences if isinstance(settings.sequences, int) else None
        most = divisor_at_most(budget, min(settings.max_sequences, fixed or settings.max_sequences))
        logits = self._pass(self._ids[self._cache.length :])[0]
        token, q = self._choose(logits)
        self._sequences, self._read, self._q = [[token]], [[]], [[]]
        if most == 1:
            return q
        with np.errstate(invalid="ignore"):
            p1 = self._untempered.probabilities(logits, self._ids)
        if not p1.max() > 0:  # bans leave the draft nothing to say
            return q
        firsts = self._firsts(token, p1, q, most)
        if fixed is not None or len(firsts) == 1:
            k = divisor_at_most(budget, len(firsts))
        else:
            self._ids.append(token)
            second = self._read_next(0)
            with np.errstate(invalid="ignore"):
                p2 = self._untempered.probabilities(second, self._ids)
            self._append(0, second)
            del self._ids[self._base :]
            likeliest = float(p2.max()) if p2.max() > 0 else 1.0
            k = min(len(firsts), num_sequences(p1[ranked(p1, most)], likeliest, budget, most))
            k = divisor_at_most(budget, k)
        for other in firsts[1:k]:
            self._sequences.append([other])
            self._read.append([])
            self._q.append([])
        return q

    def _firsts(self, token: int, p1: Floats, q: Floats | None, count: int) -> list[int]:
        """`token` and up to `count` − 1 others: the likeliest, or drawn from `q` without replacement."""
        if self._mode != "sample" or q is None:
            others = [other for other in ranked(p1, count).tolist() if other != token]
            return [token, *others[: count - 1]]
        firsts, left = [token], q.copy()
        while len(firsts) < count:
            left[firsts[-1]] = 0.0
            if left.sum() <= 0:
                break
            firsts.append(self._free_draw(left))
        return firsts

    # --- growing ---------------------------------------------------------------------------------------

    def _extend_one(self, length: int) -> None:
        """One chain to `length` tokens."""
        tokens = self._sequences[0]
        self._ids += tokens
        while len(tokens) < length:
            self._append(0, self._read_next(0))
        del self._ids[self._base :]

    def _extend_all(self, length: int) -> None:
        """All sequences to `length` tokens: a pass reads the newest token of each one that is shorter."""
        torch = require("torch")
        while growing := [j for j, tokens in enumerate(self._sequences) if len(tokens) < length]:
            first, count = self._cache.length, len(growing)
            mask = np.zeros((count, first - self._base + count), dtype=bool)
            for row, j in enumerate(growing):
                mask[row, [entry - self._base for entry in self._read[j]]] = True
                mask[row, first - self._base + row] = True
            logits = self._pass(
                [self._sequences[j][-1] for j in growing],
                positions=[self._base + len(self._read[j]) for j in growing],
                mask=torch.from_numpy(mask),
            )
            for row, j in enumerate(growing):
                self._read[j].append(first + row)
                self._ids += self._sequences[j]
                self._append(j, logits[row])
                del self._ids[self._base :]

    def _read_next(self, j: int) -> Any:
        """Logits (V,) after sequence j, whose entries are the cache's last."""
        self._read[j].append(self._cache.length)
        return self._pass([self._sequences[j][-1]])[0]

    def _append(self, j: int, logits: Any) -> None:
        """Choose the next token of sequence j; the text `_ids` ends with that sequence."""
        token, q = self._choose(logits)
        self._sequences[j].append(token)
        self._ids.append(token)
        if q is not None:
            self._q[j].append(q)

    def _choose(self, logits: Any) -> tuple[int, Floats | None]:
        """The token after the text `_ids`, and what it was drawn from if it was drawn freely.

        Where bans leave the draft nothing to say any token will do; the target decides.
        """
        if self._mode != "sample":
            try:
                return self._chooser.draw(logits, self._ids), None
            except InputError:
                return 0, None
        with np.errstate(invalid="ignore"):
            q = self._chooser.probabilities(logits, self._ids)
        if not q.max() > 0:
            q = np.full(len(q), 1 / len(q))
        return self._free_draw(q), q

    def _free_draw(self, q: Floats) -> int:
        total = np.cumsum(q)
        at = self._random.random() * total[-1]
        return min(int(np.searchsorted(total, at, side="right")), int(np.flatnonzero(q)[-1]))

    def _pass(self, tokens: Sequence[int], **tree: Any) -> Any:
        if self._passes and (self._cancelled() or self._clock() > self._due):
            raise _CancelledError
        self._passes += 1
        self._steps += len(tokens) if self._passes > 1 else 1  # catching up with the text counts as one step
        logits = self.model.forward(tokens, self._cache, last=len(tokens) if tree else 1, **tree)
        # A draft on another device is waited for here, once a pass.
        return logits.to("cpu")
