"""For which questions does uncertainty predict errors? One AUC a group, with its interval (arXiv 2503.01688, table 2).

A group in which all answers are right, or all wrong, has no AUC; it stays a row that says so. So does one of fewer than
`min_n` rows, which the paper's notebook passes over. p values are against chance, and adjusted by Holm over all groups
of the report that have one.

Knows tables and AUCs. Knows nothing of how groups compare: see `matching` and `composition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.claims.intervals import wilson_estimate
from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.discrimination import RESAMPLES, AucInterval, error_auc
from firsthand.evaluation.uncertainty.errors import SingleClassError
from firsthand.evaluation.uncertainty.estimates import Estimate, check_level
from firsthand.evaluation.uncertainty.table import Invalid, UncertaintyTable, check_invalid

__all__ = ["GroupRow", "GroupTable", "group_report", "grouped", "holm"]

Key = tuple[str | None, ...]


@dataclass(frozen=True)
class GroupRow:
    """One group. `auc` is None where there is none, and `note` then says why."""

    key: Key  # values of `by`, None for rows that lack one
    n: int  # rows the figures are of
    invalid: int  # invalid answers: beside n where they are "apart", in n where they count as errors
    errors: int
    accuracy: float | None  # None where n is 0
    accuracy_low: float | None  # Wilson's interval
    accuracy_high: float | None
    auc: Estimate | None
    p_adjusted: float | None = None
    note: str = ""


@dataclass(frozen=True)
class GroupTable:
    """What `group_report` returns: all rows together, and a row a group, sorted by key."""

    by: tuple[str, ...]
    score: str
    level: float
    invalid: Invalid
    overall: GroupRow  # not part of Holm's family
    rows: tuple[GroupRow, ...]

    def row(self, *key: str | None) -> GroupRow:
        """The group of these values of `by`.

        Raises:
            InputError: there is none.
        """
        for row in self.rows:
            if row.key == key:
                return row
        raise InputError(f"no group {key!r} by {', '.join(self.by)}")

    def as_dicts(self) -> list[dict[str, Any]]:
        """Rows for JSON or Arrow: one flat mapping a group."""
        return [
            {
                **dict(zip(self.by, row.key, strict=True)),
                "n": row.n,
                "invalid": row.invalid,
                "errors": row.errors,
                "accuracy": row.accuracy,
                "auc": row.auc.value if row.auc else None,
                "low": row.auc.low if row.auc else None,
                "high": row.auc.high if row.auc else None,
                "p_value": row.auc.p_value if row.auc else None,
                "p_adjusted": row.p_adjusted,
                "method": row.auc.method if row.auc else None,
                "note": row.note,
            }
            for row in self.rows
        ]


def group_report(
    table: UncertaintyTable,
    by: str | Sequence[str] = "subject",
    score: str = "H_vocab",
    *,
    min_n: int = 10,
    invalid: Invalid = "apart",
    ci: AucInterval = "delong",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> GroupTable:
    """The AUC of a score for errors in each group.

    Args:
        table: the answers.
        by: "subject" or the name of a label; of several, each combination that occurs is a group.
        score: what `UncertaintyTable.uncertainty` takes.
        min_n: smaller groups get no AUC.
        invalid: "apart" or "error"; see `table`.
        ci, level, resamples, seed: see `error_auc`.

    Raises:
        InputError: a name or an argument that cannot be.
        NonFiniteScores: a row that is judged and lacks the score, by its id.
    """
    names = (by,) if isinstance(by, str) else tuple(by)
    check_level(level)
    if isinstance(min_n, bool) or not isinstance(min_n, int) or min_n < 1:
        raise InputError(f"min_n must be a whole number of at least 1, got {min_n!r}")
    judged = table.judged(invalid)
    u = np.full(len(table), np.nan)
    u[judged] = table.uncertainty(score, judged)

    def row(key: Key, places: NDArray[np.intp]) -> GroupRow:
        some = places[judged[places]]
        error = ~table.correct[some]
        count = int((~table.valid[places]).sum())
        if not some.size:
            return GroupRow(key, 0, count, 0, None, None, None, None, note="no valid answer")
        share = wilson_estimate((~error).astype(np.float64).tolist())
        found, note = None, ""
        if some.size < min_n:
            note = f"fewer than {min_n} rows"
        else:
            try:
                found = error_auc(error, u[some], ci=ci, level=level, resamples=resamples, seed=seed)
            except SingleClassError as failure:
                note = str(failure)
            except InputError as failure:  # one error or one right answer alone
                if ci == "delong" and min(error.sum(), (~error).sum()) == 1:
                    note = str(failure)
                else:
                    raise
        return GroupRow(
            key, some.size, count, int(error.sum()), share.value, *share.interval(level), found, note=note
        )

    rows = [row(key, places) for key, places in grouped(table, names)]
    tested = [number for number, one in enumerate(rows) if one.auc is not None]
    raw = [p for number in tested if (one := rows[number].auc) and (p := one.p_value) is not None]
    for number, p in zip(tested, holm(raw), strict=True):
        rows[number] = replace(rows[number], p_adjusted=p)
    return GroupTable(
        names, score, level, check_invalid(invalid), row((), np.arange(len(table))), tuple(rows)
    )


def grouped(table: UncertaintyTable, by: Sequence[str]) -> list[tuple[Key, NDArray[np.intp]]]:
    """Each combination of values that occurs, sorted with None last, and the places of its rows.

    Raises:
        InputError: no name, a name twice, or one that the table has not.
    """
    if not by or len(set(by)) != len(by):
        raise InputError(f"groups need one or more different names, got {list(by)!r}")
    columns = [table.group(name) for name in by]
    places: dict[Key, list[int]] = {}
    for place, key in enumerate(zip(*columns, strict=True)):
        places.setdefault(key, []).append(place)
    order = sorted(places, key=lambda key: [(value is None, value or "") for value in key])
    return [(key, np.array(places[key], np.intp)) for key in order]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values: that of rank i of m is max over ranks j <= i of (m − j + 1) p_j, at most 1.

    At most α of all families have one below α whose null is true, whatever hangs on what.

    Raises:
        InputError: a number outside [0, 1].
    """
    values = list(p_values)
    for number, value in enumerate(values):
        if not 0 <= value <= 1:
            raise InputError(f"p value {number} must be between 0 and 1, got {value!r}")
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, number in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        highest = max(highest, min(1.0, (len(values) - rank) * values[number]))
        adjusted[number] = highest
    return adjusted
