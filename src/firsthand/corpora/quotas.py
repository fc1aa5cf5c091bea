"""Quotas: no source may fill more than its share of what is kept.

Going down the ranking, a document is passed over once its source is full. Within a source that keeps the
documents down to a place in the source's own ranking, so a quota is a threshold a source, found in the same
way and in the same constant memory as the one for the whole: a number for each source, and 4 KiB for each
that is larger than its quota; where all have the same share, those are fewer than 1 / (share · fraction).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firsthand.corpora.ids import seeded_order
from firsthand.corpora.threshold import Narrowing, Passes, exact_fraction, ordered_bits, score_of
from firsthand.errors import InputError

__all__ = ["Quotas", "find_quotas"]

_DIGIT = 8


class _Edge(NamedTuple):
    """The first document that no longer fits: its score, and its key among documents of that score."""

    value: float
    key: int
    size: int  # that lies before it


@dataclass(frozen=True)
class Quotas:
    """For each source that is larger than its quota, where its ranking is cut."""

    edges: Mapping[str, _Edge]
    reachable: int  # size of all that is eligible
    seed: int

    def eligible(
        self, scores: ArrayLike, sources: Sequence[str], ids: Sequence[str] | None = None
    ) -> NDArray[np.bool_]:
        """(n,) which documents lie within their source's quota; those without a score do not."""
        s = np.asarray(scores)
        allowed = ~np.isnan(s)
        for source, at in _groups(sources, self.edges):
            edge = self.edges[source]
            inside = s[at] > edge.value
            tied = at[s[at] == edge.value]
            if tied.size:
                names = [str(i) if ids is None else ids[i] for i in tied.tolist()]
                inside[s[at] == edge.value] = seeded_order(names, self.seed) < np.uint64(edge.key)
            allowed[at] &= inside
        return np.asarray(allowed, dtype=np.bool_)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "reachable": self.reachable,
            "full": {source: {"lowest_score": e.value, "size": e.size} for source, e in self.edges.items()},
        }


def _groups(sources: Sequence[str], wanted: Mapping[str, Any]) -> list[tuple[str, NDArray[np.intp]]]:
    """(source, positions) of the wanted sources that occur."""
    names = list(wanted)
    code = {source: number for number, source in enumerate(names)}
    coded = np.array([code.get(source, -1) for source in sources], dtype=np.intp)
    order = np.argsort(coded, kind="stable")  # one sort, however many sources are wanted
    numbers, starts = np.unique(coded[order], return_index=True)
    parts = np.split(order, starts[1:]) if order.size else []
    return [(names[n], at) for n, at in zip(numbers.tolist(), parts, strict=True) if n >= 0]


def _cap(source: str, share: float | Mapping[str, float], budget: int) -> int | None:
    """How large `source` may become, or None where nothing limits it."""
    given = share.get(source) if isinstance(share, Mapping) else share
    return None if given is None else int(exact_fraction(given) * budget)


def find_quotas(passes: Passes, budget: int, share: float | Mapping[str, float], *, seed: int = 0) -> Quotas:
    """Where each source's ranking is cut so that it fills at most its share of the budget.

    Args:
        passes: called once a pass with whether ids are needed; yields chunks that have `sources`.
        budget: the size of all that is to be kept.
        share: of the budget, in [0, 1], for every source alike; or source -> share, and sources that are not
            named have no limit. The kept size of a source never exceeds it.
        seed: seeds the order among equal scores; the same as the threshold's.

    Raises:
        InputError: a bad share, one for a source that does not occur, or quotas that leave less than the
            budget (the message says how much).
    """
    shares = list(share.values()) if isinstance(share, Mapping) else [share]
    if not shares or not all(0 <= float(value) <= 1 for value in shares):
        raise InputError(f"a source's share must lie between 0 and 1, got {share}")
    if budget < 1:
        raise InputError(f"the budget must be at least 1, got {budget}")
    totals: dict[str, int] = {}
    for chunk in passes(False):
        sizes = np.where(np.isnan(chunk.scores), 0, chunk.sizes)
        names, place = np.unique(np.asarray(chunk.sources, dtype=object), return_inverse=True)
        sums = np.bincount(place, weights=sizes, minlength=names.size)
        for name, size in zip(names.tolist(), sums.tolist(), strict=True):
            totals[name] = totals.get(name, 0) + int(size)
    if isinstance(share, Mapping) and (unknown := [name for name in share if name not in totals]):
        raise InputError(f"a share is given for {unknown[0]!r}, and no document has that source")
    caps = {source: _cap(source, share, budget) for source in sorted(totals)}
    over = {s: cap for s, cap in caps.items() if cap is not None and totals[s] > cap}

    by_score = {source: Narrowing(32, cap + 1, _DIGIT) for source, cap in over.items()}
    while any(narrowing.shift >= 0 for narrowing in by_score.values()):
        for chunk in passes(False):
            keys = ordered_bits(chunk.scores)
            for source, at in _groups(chunk.sources, over):
                at = at[~np.isnan(chunk.scores[at])]
                by_score[source].add(keys[at], chunk.sizes[at])
        for narrowing in by_score.values():
            narrowing.close_pass()

    values = {source: score_of(narrowing.prefix) for source, narrowing in by_score.items()}
    by_key: dict[str, Narrowing] = {}
    for source, narrowing in by_score.items():
        if narrowing.here_docs > 1:
            by_key[source] = Narrowing(64, over[source] + 1, _DIGIT)
            by_key[source].before_size = narrowing.before_size
    while any(narrowing.shift >= 0 for narrowing in by_key.values()):
        for chunk in passes(True):
            for source, at in _groups(chunk.sources, by_key):
                at = at[chunk.scores[at] == np.float32(values[source])]
                if at.size:
                    order = seeded_order([chunk.ids[i] for i in at.tolist()], seed)
                    by_key[source].add(order, chunk.sizes[at])
        for narrowing in by_key.values():
            narrowing.close_pass()

    edges = {}
    for source, narrowing in by_score.items():
        last = by_key.get(source, narrowing)
        # Alone at its score, the document that crosses the line is out whatever its key.
        edges[source] = _Edge(values[source], last.prefix if source in by_key else 0, last.before_size)
    reachable = sum(edges[s].size if s in edges else size for s, size in totals.items())
    if reachable < budget:
        raise InputError(
            f"with these quotas the sources give at most {reachable} of the {budget} that are to be kept; "
            "raise the share, or keep less"
        )
    return Quotas(edges, reachable, seed)
