"""How much a query reads, from rows and the widths of types alone: what a view is weighed against.

Also a line through this session's own runs, from bytes to milliseconds, for what a direct run would have taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sqlglot import exp

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.schema import width_of
from firsthand.query.speql.trees import alias_of, from_items
from firsthand.query.speql.views import View

__all__ = ["DirectRuns", "Worth", "bytes_read", "scan_bytes"]


def scan_bytes(statement: Statement, query: exp.Expr) -> float:
    """Bytes of the base tables' columns that a query reads, a CTE as often as it is named; unknown sizes are 0."""
    total = 0.0
    for select in _selects(query):
        used = {(column.table, column.name) for column in select.find_all(exp.Column)}
        for item in from_items(select):
            if not isinstance(item, exp.Table):
                continue
            if not item.db and item.name in statement.ctes:
                total += scan_bytes(statement, statement.ctes[item.name])
                continue
            table = statement.schema.table(".".join(part for part in (item.db, item.name) if part))
            if table is None or table.rows is None:
                continue
            alias = alias_of(item)
            widths = [
                width_of(column.type) for name, column in table.by_name.items() if (alias, name) in used
            ]
            total += table.rows * max(sum(widths), 1.0)
    return total


def _selects(query: exp.Expr) -> Iterator[exp.Select]:
    """SELECTs of a query, but those of CTEs in front of it: they are read where they are named."""
    stack = [query]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Select):
            yield node
        stack += [part for part in node.iter_expressions() if not isinstance(part, exp.With)]


def bytes_read(statement: Statement) -> float:
    """Bytes that a statement reads of its tables; 0 of one that is not understood."""
    return 0.0 if statement.unknown or statement.tree is None else scan_bytes(statement, statement.tree)


class Worth:
    """Reading a view is worth it where it is at most `ratio` of what the query's own scans read.

    The smallest tables are always worth reading: below `floor` bytes a scan takes no time that anyone notices.
    """

    def __init__(self, statement: Statement, ratio: float, floor: float = 64 * 2**10) -> None:
        self.statement, self.ratio, self.floor = statement, ratio, floor
        self._scans: dict[int, tuple[exp.Expr, float]] = {}

    def __call__(self, view: View, read: Sequence[int], query: exp.Expr) -> bool:
        """See `matching.Fits`."""
        mine = view.rows * sum(view.widths[number] for number in read)
        if mine <= self.floor:
            return True
        if id(query) not in self._scans:  # the query is kept with it, so that no other gets its id
            self._scans[id(query)] = (query, scan_bytes(self.statement, query))
        return mine <= self.ratio * self._scans[id(query)][1]


class DirectRuns:
    """Bytes and milliseconds of queries that ran on the tables themselves; a line through them tells the next."""

    def __init__(self, most: int = 200) -> None:
        self._runs: list[tuple[float, float]] = []
        self._most = most

    def add(self, scanned: float, milliseconds: float) -> None:
        """Note a run."""
        self._runs = [*self._runs[-self._most + 1 :], (scanned, milliseconds)]

    def estimate(self, scanned: float) -> float | None:
        """Milliseconds that a run over so many bytes would take; None before three runs of different sizes."""
        runs = np.array(self._runs)
        if len(runs) < 3 or np.ptp(runs[:, 0]) == 0:
            return None
        slope, start = np.polyfit(runs[:, 0], runs[:, 1], 1)
        if slope <= 0:
            return float(np.median(runs[:, 1]))
        return float(max(start, 0.0) + slope * scanned)
