"""How large a tree pays, and whether any does: decided by what was accepted and what passes took.

Knows counts and seconds; knows nothing of models. Drafts leave traces: which guess of each position was right, and
how far each n-gram went, whether or not it was tried. From the traces it is known exactly what any tree, fewer
n-grams, or n-grams alone would have given; what they would have taken is read off a line through measured
passes. The best of them is used for the next steps (every 64 it is looked at again). While plain decoding is
best, looks become rarer, and drafting is tried again as long as little has been lost by it.

No harm: what speculation has lost against plain decoding is counted in plain tokens. When that passes 3 % of
the planned text, the kind of step that lost it is given up.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Mode", "Plan", "Trace", "Tuner", "accepted_by"]

Mode = Literal["draft", "table", "plain"]

PLAIN_FIRST = 3  # tokens decoded plainly to learn what one takes
PROBE = 8  # speculative steps before the first look
EVERY = 64  # steps between looks
CURIOUS = 4  # every so many drafts are judged in full
LONGEST_WAIT = 4096  # plain tokens between looks at most; waits double, from EVERY on
LOSS_SHARE = 0.03
_REUSE = (0, 1, 2, 4, 8, 12, 20)
_MARGIN = 1.02  # a change must promise so much: times are noisy
_REMEMBERED = 256
_NEVER = 1 << 30  # the rank of a guess that was not among those tried


@dataclass(frozen=True)
class Plan:
    """What a step does: its mode, the guesses of each position, and how many n-grams are re-used."""

    mode: Mode
    branching: tuple[int, ...] = ()
    reuse: int = 0


@dataclass(frozen=True)
class Trace:
    """What one drafted step showed.

    Attributes:
        ranks: which guess of each position was right, up to the first position where none was.
        reused: how many tokens of each re-used n-gram were right, by frequency.
    """

    ranks: tuple[int, ...]
    reused: tuple[int, ...]


def accepted_by(trace: Trace, branching: Sequence[int], reuse: int) -> int:
    """How many tokens of a step would have been accepted with fewer guesses and n-grams."""
    guessed = 0
    for rank, count in zip(trace.ranks, branching, strict=False):
        if rank >= count:
            break
        guessed += 1
    return max([guessed, *trace.reused[:reuse]])


class _Evidence:
    """Traces as arrays, so that many plans can be judged by them at once: `accepted_by`, averaged."""

    def __init__(self, traces: Iterable[Trace], positions: int) -> None:
        found = list(traces)
        self._ranks = np.full((len(found), positions), _NEVER)
        longest = max((len(trace.reused) for trace in found), default=0)
        self._best = np.zeros((len(found), longest + 1), dtype=int)  # of the first k paths
        self._paths = np.array([len(trace.reused) for trace in found])
        for row, trace in enumerate(found):
            self._ranks[row, : len(trace.ranks)] = trace.ranks
            self._best[row, 1 : len(trace.reused) + 1] = trace.reused
        np.maximum.accumulate(self._best, axis=1, out=self._best)

    def gained(self, branching: Sequence[int], reuse: int) -> float:
        """Mean tokens accepted a step."""
        again = self._best[:, min(reuse, self._best.shape[1] - 1)]
        right = self._ranks[:, : len(branching)] < np.array(branching, dtype=int)
        return float(np.maximum(np.cumprod(right, axis=1).sum(axis=1), again).mean())

    def paths(self, reuse: int) -> float:
        """Mean number of re-used paths a step."""
        return float(np.minimum(self._paths, reuse).mean())


class Tuner:
    """Chooses the plan of each step of one text.

    Args:
        widest: the plan that drafting begins with; no later one is larger.
        planned: new tokens of the whole text.
        may_stop: whether plain decoding is among the choices.
        table: how many n-grams a step without a draft pass may re-use; 0 for none.
    """

    def __init__(self, widest: Plan, planned: int, *, may_stop: bool, table: int) -> None:
        self.widest, self.may_stop, self.table = widest, may_stop, table
        self.plan = widest
        self._allowed = LOSS_SHARE * planned
        self._lost = 0.0
        self._since, self._until, self._wait = 0, PLAIN_FIRST + PROBE, EVERY  # steps since and until a look
        self._probe = PROBE if widest.mode == "draft" else 0  # steps of a trial that are still to come
        self._drafts = 0
        self._fresh = False  # traces came since the last look
        self._stale = False  # what a plain token takes was last measured before the last look
        self._given_up: set[Mode] = set()
        self._plain: deque[float] = deque(maxlen=5)
        self._verify: dict[int, deque[float]] = {}
        self._draft: deque[float] = deque(maxlen=32)
        self._own: dict[Mode, deque[float]] = {"draft": deque(maxlen=32), "table": deque(maxlen=32)}
        self._traces: deque[Trace] = deque(maxlen=_REMEMBERED)
        self._table: deque[tuple[int, ...]] = deque(maxlen=_REMEMBERED)

    @property
    def next(self) -> Plan:
        """The plan of the coming step."""
        if len(self._plain) < PLAIN_FIRST or (self._stale and self.plan.mode != "plain"):
            return Plan("plain")
        if 0 < self._probe < PROBE:  # one wide tree tells what trees take, a chain costs less
            return Plan("draft", (1,) * len(self.widest.branching))
        return self.plan

    def saw_plain(self, seconds: float) -> None:
        """A token was decoded plainly."""
        self._plain.append(seconds)
        self._stale = False
        self._count()

    def saw_step(
        self,
        plan: Plan,
        tokens: int,
        nodes: int,
        *,
        draft_s: float,
        verify_s: float,
        own_s: float,
    ) -> None:
        """A speculative step gave `tokens`; its tree had `nodes`, the root included."""
        self._verify.setdefault(nodes, deque(maxlen=9)).append(verify_s)
        if plan.mode == "draft":
            self._draft.append(draft_s)
            self._probe = max(0, self._probe - 1)
            self._drafts += 1
        self._own[plan.mode].append(own_s)
        if self._plain:
            self._lost += (draft_s + verify_s + own_s) / self._plain_s - tokens
        if self.may_stop and self._lost > self._allowed:
            self._given_up.add(plan.mode)
            self._lost = self._allowed  # the next kind has nothing left to lose
            self._choose()
            return
        self._count()

    @property
    def curious(self) -> bool:
        """Whether the coming draft should be judged as if the widest plan had been tried, which takes time."""
        return self._probe > 0 or self._drafts % CURIOUS == 0

    def saw_trace(self, trace: Trace) -> None:
        """What a step would have shown with the widest plan, known once its tokens are."""
        self._traces.append(trace)
        self._fresh = True

    def saw_table(self, reused: Iterable[int]) -> None:
        """What the n-grams after the last token of a step would have given, had they been all that was tried."""
        self._table.append(tuple(reused))

    @property
    def stopped(self) -> bool:
        """Whether a kind of speculation was given up because it lost time, or none pays at the moment."""
        return bool(self._given_up) or self.plan.mode == "plain"

    def _count(self) -> None:
        self._since += 1
        if self._since >= self._until:
            self._choose()

    @property
    def _plain_s(self) -> float:
        return statistics.median(self._plain)

    def _choose(self) -> None:
        self._since = 0
        self._stale = True
        if self.plan.mode == "plain" and self._may_try_again:
            self.plan, self._until, self._probe = self.widest, PROBE, PROBE
            self._traces.clear()  # they are of a shorter text
            return
        self._pick()
        if self.plan.mode == "plain":
            self._until, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        else:
            self._until = self._wait = EVERY

    @property
    def _may_try_again(self) -> bool:
        """Whether drafting, which did not pay, may be tried anew: a longer text may be easier to guess."""
        return (
            self.widest.mode == "draft" and "draft" not in self._given_up and self._lost < self._allowed / 4
        )

    def _pick(self) -> None:
        self._probe = 0
        promises = self._promises()
        self._fresh = False
        if not promises:
            self.plan = Plan("plain") if self.may_stop and self.plan.mode in self._given_up else self.plan
            return
        best = max(promises, key=lambda plan: promises[plan])
        now = None if self.plan.mode in self._given_up else promises.get(self.plan)
        if now is None or promises[best] > _MARGIN * now:
            self.plan = best

    def _candidates(self) -> Iterable[Plan]:
        if self.may_stop:
            yield Plan("plain")
        if self.table and "table" not in self._given_up:
            for reuse in _REUSE[1:]:
                if reuse <= self.table:
                    yield Plan("table", (), reuse)
        if self.widest.mode == "draft" and "draft" not in self._given_up and self._fresh:
            shapes = {
                tuple(min(count, cap) for count in self.widest.branching[:depth])
                for depth, cap in itertools.product(
                    range(1, len(self.widest.branching) + 1), range(1, max(self.widest.branching) + 1)
                )
            }
            # More n-grams than were ever there make no difference.
            most = min(self.widest.reuse, max((len(trace.reused) for trace in self._traces), default=0))
            reuses = sorted({min(reuse, most) for reuse in _REUSE} | {self.plan.reuse})
            for shape, reuse in itertools.product(sorted(shapes), reuses):
                yield Plan("draft", shape, reuse)

    def _promises(self) -> dict[Plan, float]:
        """Tokens a second that each plan promises; plans that nothing is known of are left out."""
        promises: dict[Plan, float] = {}
        traces = _Evidence(self._traces, len(self.widest.branching)) if self._traces else None
        offers = [Trace((), reused) for reused in self._table]
        table = _Evidence(offers, 0) if offers else None
        own = self._median(self._own["draft"], 0.0)
        for plan in self._candidates():
            if plan.mode == "plain" and self._plain:
                promises[plan] = 1 / self._plain_s
            elif plan.mode == "table" and table is not None and self._plain:
                seconds = self._pass(1 + round(3 * table.paths(plan.reuse)))
                seconds += self._median(self._own["table"], own)
                promises[plan] = (1 + table.gained((), plan.reuse)) / seconds
            elif plan.mode == "draft" and traces is not None and self._draft:
                guesses = sum(itertools.accumulate(plan.branching, lambda a, b: a * b))
                seconds = self._pass(1 + guesses + round(3 * traces.paths(plan.reuse)))
                seconds += self._median(self._draft, 0.0) + own
                promises[plan] = (1 + traces.gained(plan.branching, plan.reuse)) / seconds
        return promises

    def _pass(self, nodes: int) -> float:
        """Seconds of a checking pass: on the line through a plain token's and the nearest larger trees'."""
        known = sorted((count, statistics.median(times)) for count, times in self._verify.items())
        points = [(1, self._plain_s), *(p for p in known if p[0] > 1)] if self._plain else known
        if not points:
            return 0.0
        if len(points) == 1:
            return points[0][1]
        above = next((i for i, point in enumerate(points) if point[0] >= nodes), len(points) - 1)
        (n0, s0), (n1, s1) = points[max(above, 1) - 1], points[max(above, 1)]
        return max(points[0][1], s0 + (s1 - s0) * (nodes - n0) / (n1 - n0))

    @staticmethod
    def _median(values: Iterable[float], otherwise: float) -> float:
        found = list(values)
        return statistics.median(found) if found else otherwise
