"""What subjects are made of: which share of each needs reasoning, and their AUCs as if all shares were the same.

Subject and label are confounded (in MMLU-Pro about 0.9 of engineering needs reasoning, of philosophy 0.5), so an AUC by
subject is partly one by label. Here a row of subject t and label l weighs

    w = share of l wanted / share of l in t

which gives every subject one mix of labels. Labels come from a judging model: never from the model that answered.

Knows tables and AUCs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firsthand.claims.intervals import wilson_estimate
from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.discrimination import RESAMPLES, check_both_classes, weighted_aucs
from firsthand.evaluation.uncertainty.errors import SingleClassError
from firsthand.evaluation.uncertainty.estimates import Estimate, Flags, Floats, check_level
from firsthand.evaluation.uncertainty.groups import grouped
from firsthand.evaluation.uncertainty.table import Invalid, UncertaintyTable

__all__ = ["LabelShare", "ReweightedRow", "label_shares", "reweighted_report"]


@dataclass(frozen=True)
class LabelShare:
    """A cell of the two-way table: how many questions of a group have a label."""

    group: str | None
    label: str | None
    n: int
    share: float  # of the group
    low: float  # Wilson's interval
    high: float


@dataclass(frozen=True)
class ReweightedRow:
    """A group's AUC at the wanted mix of labels; None where it has none, and `note` says why."""

    group: str | None
    n: int
    auc: Estimate | None
    effective_n: (
        float  # (Σw)² / Σw²: how many equal rows the weighted ones are worth; 0 where they have no weights
    )
    note: str = ""


def label_shares(
    table: UncertaintyTable, label: str, by: str = "subject", *, level: float = 0.95
) -> tuple[LabelShare, ...]:
    """The two-way table: each group's share of each label, those that do not occur in it too.

    Every row counts, whatever its answer: this is a report on the questions.

    Args:
        table: the answers.
        label: such as "reasoning".
        by: what groups are.
        level: of the intervals.

    Raises:
        InputError: a name that the table has not, or the same one twice.
    """
    check_level(level)
    cells = {key: places.size for key, places in grouped(table, (by, label))}
    groups = [(key[0], places.size) for key, places in grouped(table, (by,))]
    values = [key[0] for key, _ in grouped(table, (label,))]
    found = []
    for group, total in groups:
        for value in values:
            n = cells.get((group, value), 0)
            share = wilson_estimate([1.0] * n + [0.0] * (total - n))
            found.append(LabelShare(group, value, n, share.value, *share.interval(level)))
    return tuple(found)


def reweighted_report(
    table: UncertaintyTable,
    label: str,
    by: str = "subject",
    score: str = "H_vocab",
    *,
    target: Mapping[str, float] | None = None,
    min_n: int = 10,
    invalid: Invalid = "apart",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[ReweightedRow, ...]:
    """Each group's AUC with its labels brought to one mix; percentile intervals over stratified resamples.

    A resample draws rows anew within each label and each kind of answer, with the weights as they are.

    Args:
        table: the answers. Rows without the label are left out and counted in the row's `note`.
        label: such as "reasoning".
        by: what groups are.
        score: what `UncertaintyTable.uncertainty` takes.
        target: share of each label, above 0, summing to 1; None: their shares among all rows that are judged.
        min_n: smaller groups get no AUC.
        invalid: "apart" or "error"; see `table`.
        level, resamples, seed: of the intervals.

    Raises:
        InputError: a name or an argument that cannot be.
        NonFiniteScores: a row that is judged and lacks the score, by its id.
    """
    check_level(level)
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 2:
        raise InputError(f"resamples must be a whole number of at least 2, got {resamples!r}")
    judged = table.judged(invalid)
    names = table.group(label)
    known = judged & np.array([name is not None for name in names])
    wanted = _target(
        target, [name for name, taken in zip(names, known, strict=True) if taken and name], label
    )
    u = np.full(len(table), np.nan)
    u[known] = table.uncertainty(score, known)
    found = []
    for key, places in grouped(table, (by,)):
        rows = places[known[places]]
        unlabelled = int(judged[places].sum()) - rows.size
        note = f"{unlabelled} rows without a label left out" if unlabelled else ""
        mine = [names[place] for place in rows.tolist()]
        absent = [name for name in wanted if name not in mine]
        error = ~table.correct[rows]
        if rows.size < min_n or absent:
            why = f"fewer than {min_n} rows" if rows.size < min_n else f"no row with {label} {absent[0]!r}"
            found.append(ReweightedRow(key[0], rows.size, None, 0.0, why))
            continue
        try:
            check_both_classes(error)
        except SingleClassError as failure:
            found.append(ReweightedRow(key[0], rows.size, None, 0.0, str(failure)))
            continue
        labels = np.array(mine)
        weights = np.zeros(rows.size)
        for name, share in wanted.items():
            inside = labels == name
            weights[inside] = share / inside.mean()
        estimate = _weighted(error, u[rows], weights, labels, level, resamples, seed)
        worth = float(weights.sum() ** 2 / (weights**2).sum())
        found.append(ReweightedRow(key[0], rows.size, estimate, worth, note))
    return tuple(found)


def _target(target: Mapping[str, float] | None, labels: list[str], label: str) -> dict[str, float]:
    if not labels:
        raise InputError(f"no row that is judged has a label {label!r}")
    values, counts = np.unique(np.array(labels), return_counts=True)
    if target is None:
        return dict(zip(values.tolist(), (counts / counts.sum()).tolist(), strict=True))
    unknown = sorted(set(values.tolist()) ^ set(target))
    if unknown:
        raise InputError(
            f"target needs a share of each of {', '.join(values)} and no other; see {unknown[0]!r}"
        )
    if min(target.values()) <= 0 or abs(sum(target.values()) - 1) > 1e-6:
        raise InputError(f"the shares of target must be above 0 and sum to 1, got {dict(target)}")
    return dict(target)


def _weighted(
    error: Flags, u: Floats, weights: Floats, labels: NDArray[np.str_], level: float,
    resamples: int, seed: int,
) -> Estimate:  # fmt: skip
    value = float(weighted_aucs(error, u, weights[None])[0])
    random = np.random.default_rng(seed)
    counts = np.zeros((resamples, error.size))
    strata = np.unique(np.unique(labels, return_inverse=True)[1] * 2 + error, return_inverse=True)[1]
    for stratum in range(strata.max() + 1):
        places = np.flatnonzero(strata == stratum)
        counts[:, places] = random.multinomial(places.size, np.full(places.size, 1 / places.size), resamples)
    drawn = weighted_aucs(error, u, counts * weights)
    low, high = np.quantile(drawn, (0.5 - level / 2, 0.5 + level / 2))
    return Estimate(
        value, float(low), float(high), level, "stratified bootstrap, re-weighted", error.size, int(error.sum()),
        float(drawn.std(ddof=1)),
    )  # fmt: skip
