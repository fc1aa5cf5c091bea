"""Whether two answers to one query are the same, where a query allows several.

Rows are a bag unless ORDER BY says otherwise, and a LIMIT among rows that are equal in order may keep any of these.
Numbers in double precision may differ in the ninth digit, as sums taken in another order do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

__all__ = ["difference", "rows_of_table", "same_bag"]

Row = tuple[Any, ...]


def difference(
    sql: str,
    direct: Any,
    other: Any,
    run: Callable[[str], Any],
    *,
    dialect: str = "duckdb",
    relative: float = 1e-9,
) -> str:
    """How `other` differs from `direct` beyond what the query leaves open; "" where it does not.

    Args:
        sql: the query, one statement.
        direct, other: `pyarrow.Table`s, of the text itself and of what is compared with it.
        run: answers a query from the tables themselves; asked only where the query has a LIMIT and the bags differ.
        relative: tolerance of floating-point numbers.
    """
    if direct.schema.names != other.schema.names:
        return f"columns {other.schema.names} in place of {direct.schema.names}"
    if direct.schema.types != other.schema.types:
        return f"types {other.schema.types} in place of {direct.schema.types}"
    mine, theirs = rows_of_table(other), rows_of_table(direct)
    if len(mine) != len(theirs):
        return f"{len(mine)} rows in place of {len(theirs)}"
    try:
        tree = sqlglot.parse_one(sql, read=dialect)
    except SqlglotError:
        tree = None
    order = tree.args.get("order") if tree is not None else None
    keys = _places(order, direct.schema.names) if order is not None else None
    if keys is not None:
        for place, (left, right) in enumerate(zip(mine, theirs, strict=True)):
            if not _close([left[n] for n in keys], [right[n] for n in keys], relative):
                return f"row {place} is {left}, in order {right} stands there"
    if same_bag(mine, theirs, relative):
        return ""
    limited = tree is not None and (tree.args.get("limit") or tree.args.get("offset"))
    if limited and tree is not None:
        for name in ("limit", "offset", "order"):
            tree.set(name, None)
        every = rows_of_table(run(tree.sql(dialect=dialect)))
        if _within(mine, every, relative):
            return ""
    only = next((row for row in mine if not any(_close(row, one, relative) for one in theirs)), None)
    return (
        f"row {only} is not among them" if only is not None else "some rows come more often than they should"
    )


def rows_of_table(table: Any) -> list[Row]:
    """Rows as tuples of Python values."""
    return (
        list(zip(*(column.to_pylist() for column in table.columns), strict=True)) if table.num_columns else []
    )


def same_bag(left: list[Row], right: list[Row], relative: float = 1e-9) -> bool:
    """Whether two lists hold the same rows equally often, floating-point numbers within a relative tolerance."""
    return len(left) == len(right) and _within(left, right, relative)


def _within(part: list[Row], whole: list[Row], relative: float) -> bool:
    """Whether every row of `part` has one of `whole` to itself."""
    left = Counter(map(_exact, whole))
    rest = []
    for row in part:
        key = _exact(row)
        if left[key] > 0:
            left[key] -= 1
        else:
            rest.append(row)
    if not rest:
        return True
    candidates: dict[Row, list[Row]] = {}
    for row in whole:
        key = _exact(row)
        if left[key] > 0:
            left[key] -= 1
            candidates.setdefault(_without_floats(row), []).append(row)
    for row in rest:
        near = candidates.get(_without_floats(row), [])
        match = next((n for n, one in enumerate(near) if _close(row, one, relative)), None)
        if match is None:
            return False
        near.pop(match)
    return True


def _exact(row: Row) -> Row:
    return tuple(_hashable(value) for value in row)


def _hashable(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return repr(value) if isinstance(value, list | dict) else value


def _without_floats(row: Row) -> Row:
    return tuple("float" if isinstance(value, float) else _hashable(value) for value in row)


def _close(left: Any, right: Any, relative: float) -> bool:
    for one, other in zip(left, right, strict=True):
        if isinstance(one, float) and isinstance(other, float):
            if not (
                math.isclose(one, other, rel_tol=relative, abs_tol=1e-12) or (one != one and other != other)
            ):
                return False
        elif _hashable(one) != _hashable(other):
            return False
    return True


def _places(order: exp.Expr, names: list[str]) -> list[int] | None:
    """Places of the outputs that an ORDER BY is over, up to the first term that is no output."""
    found = []
    lowered = [name.lower() for name in names]
    for term in order.expressions:
        inner = term.this if isinstance(term, exp.Ordered) else term
        if isinstance(inner, exp.Literal) and inner.is_int and 1 <= int(inner.name) <= len(names):
            found.append(int(inner.name) - 1)
        elif isinstance(inner, exp.Column) and not inner.table and lowered.count(inner.name.lower()) == 1:
            found.append(lowered.index(inner.name.lower()))
        else:
            break
    return found or None
