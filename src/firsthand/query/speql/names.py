"""Which names of a query nothing answers to, and which columns its GROUP BY forgot.

Knows the schema and sqlglot's tree of a query that parses. Where it cannot know what columns there are (a function that
makes a table, PIVOT, a table read from a file), it takes every name for right: the database has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein
from sqlglot import exp
from sqlglot.errors import SqlglotError

from firsthand.query.speql.schema import Schema

if TYPE_CHECKING:
    Tree = exp.Expr

__all__ = ["READ_ERRORS", "Findings", "Ungrouped", "Unknown", "look_up", "nearest"]

READ_ERRORS = (SqlglotError, RecursionError, ValueError, TypeError, AttributeError, LookupError)
"""What sqlglot raises for text that it cannot read: its own errors, and others where a text is odd."""

_Columns = tuple[str, ...] | None  # folded names in order; None: any name may be there
_FREE = frozenset({"rowid", "all", "columns"})


@dataclass(frozen=True)
class Unknown:
    """A name that nothing answers to.

    Attributes:
        kind: "table" or "column".
        start, end: of the name in the query's text, [start, end) in code points.
        name: as it is written.
        known: the names that it could have been.
    """

    kind: str
    start: int
    end: int
    name: str
    known: frozenset[str]


@dataclass(frozen=True)
class Ungrouped:
    """What a SELECT must also group by.

    Attributes:
        place: where in the text a column of that SELECT stands.
        columns: as they are to be written.
    """

    place: int
    columns: tuple[str, ...]


@dataclass
class Findings:
    """All that is wrong with the names of a query; false where nothing is."""

    unknown: list[Unknown] = field(default_factory=list)
    ungrouped: list[Ungrouped] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.unknown or self.ungrouped)


def nearest(name: str, known: Iterable[str], *, at_most: int = 2) -> str | None:
    """The one known name within so many typing errors (insert, delete, replace a letter); None: none, or several.

    Of a name of three letters one error is looked over, of a shorter one none.
    """
    limit = min(at_most, 2 if len(name) > 3 else 1 if len(name) == 3 else 0)
    folded = name.lower()
    best: dict[int, set[str]] = {}
    for other in known:
        distance = Levenshtein.distance(folded, other.lower(), score_cutoff=limit)
        if 0 < distance <= limit:
            best.setdefault(distance, set()).add(other)
    found = best[min(best)] if best else set()
    every = set().union(*best.values()) if best else set()
    return next(iter(found)) if len(every) == 1 else None


def look_up(tree: Tree, schema: Schema, dialect: str) -> Findings:
    """Look up every table and column of a query in the schema."""
    reader = _Reader(schema, dialect)
    reader.query(tree, {}, None)
    return reader.findings


class _Scope:
    """The tables that a SELECT reads, by folded alias, within those of the query around it."""

    def __init__(self, outer: _Scope | None) -> None:
        self.outer = outer
        self.sources: dict[str, _Columns] = {}
        self.aliases: set[str] = set()

    def up(self) -> Iterator[_Scope]:
        place: _Scope | None = self
        while place is not None:
            yield place
            place = place.outer


class _Reader:
    def __init__(self, schema: Schema, dialect: str) -> None:
        self.schema = schema
        self.dialect = dialect
        self.findings = Findings()

    # ------------------------------------------------------------------ queries

    def query(self, tree: Tree, ctes: dict[str, _Columns], outer: _Scope | None) -> _Columns:
        """The columns that a query gives, those of unknown names left out."""
        ctes = self._with(tree, ctes, outer)
        if isinstance(tree, exp.Select):
            return self._select(tree, ctes, outer)
        if isinstance(tree, exp.SetOperation):
            columns = self.query(tree.left, ctes, outer)
            self.query(tree.right, ctes, outer)
            return columns
        if isinstance(tree, exp.Subquery | exp.Paren):
            return self.query(tree.this, ctes, outer)
        if isinstance(tree, exp.Table):
            scope = _Scope(outer)
            self._source(tree, ctes, scope)
            return _star(scope)
        for part in tree.iter_expressions():
            if isinstance(part, exp.Query):
                self.query(part, ctes, outer)
        return None

    def _with(self, tree: Tree, ctes: dict[str, _Columns], outer: _Scope | None) -> dict[str, _Columns]:
        with_ = tree.args.get("with_") or tree.args.get("with")
        if with_ is None:
            return ctes
        ctes = dict(ctes)
        for cte in with_.expressions:
            name = cte.alias.lower()
            inner = {**ctes, name: None} if with_.args.get("recursive") else ctes
            columns = self.query(cte.this, inner, outer)
            named = tuple(column.name.lower() for column in cte.args["alias"].columns)
            if named and columns is not None:
                columns = named + columns[len(named) :]
            ctes[name] = columns
        return ctes

    def _select(self, tree: exp.Select, ctes: dict[str, _Columns], outer: _Scope | None) -> _Columns:
        scope = _Scope(outer)
        from_ = tree.args.get("from_") or tree.args.get("from")
        joins = tree.args.get("joins") or []
        for part in ([from_] if from_ is not None else []) + joins + (tree.args.get("laterals") or []):
            self._source(part if isinstance(part, exp.Lateral) else part.this, ctes, scope)
            for key in ("using",):
                for column in part.args.get(key) or []:
                    if isinstance(column, exp.Identifier | exp.Column):
                        self._column_named(column.name, column, scope)
        for item in tree.expressions:
            if item.args.get("alias") is not None and item.alias:
                scope.aliases.add(item.alias.lower())
        good: list[str] = []
        every = True
        for item in tree.expressions:
            before = len(self.findings.unknown)
            self._expression(item, ctes, scope)
            if len(self.findings.unknown) > before:
                continue
            if isinstance(item, exp.Star) or (
                isinstance(item, exp.Column) and isinstance(item.this, exp.Star)
            ):
                columns = (
                    _star(scope) if isinstance(item, exp.Star) else scope.sources.get(item.table.lower())
                )
                every = every and columns is not None
                good += columns or ()
            else:
                good.append(item.alias_or_name.lower())
        for join in joins:
            if join.args.get("on") is not None:
                self._expression(join.args["on"], ctes, scope)
        for key in ("distinct", "where", "group", "having", "qualify", "windows", "order", "limit", "offset"):
            value = tree.args.get(key)
            for part in value if isinstance(value, list) else [value]:
                if part is not None and not isinstance(part, bool):
                    self._expression(part, ctes, scope)
        self._grouping(tree, scope)
        return tuple(good) if every else None

    # ------------------------------------------------------------------ FROM

    def _source(self, tree: Tree, ctes: dict[str, _Columns], scope: _Scope) -> None:
        alias = tree.alias.lower() if tree.args.get("alias") is not None else ""
        if isinstance(tree, exp.Table) and isinstance(tree.this, exp.Identifier):
            columns = self._table(tree, ctes)
            scope.sources[alias or tree.name.lower()] = self._renamed(tree, columns)
        elif isinstance(tree, exp.Subquery) and isinstance(tree.this, exp.Table):
            inner = _Scope(scope.outer)
            self._source(tree.this, ctes, inner)
            if alias:
                scope.sources[alias] = _star(inner)
            else:
                scope.sources.update(inner.sources)
        elif isinstance(tree, exp.Subquery | exp.Query):
            columns = self.query(tree, ctes, scope)
            scope.sources[alias or f"({len(scope.sources)}"] = self._renamed(tree, columns)
        elif isinstance(tree, exp.Lateral) and isinstance(tree.this, exp.Subquery):
            scope.sources[alias or f"({len(scope.sources)}"] = self.query(tree.this, ctes, scope)
        else:
            scope.sources[alias or f"({len(scope.sources)}"] = None
        for join in tree.args.get("joins") or []:
            self._source(join.this, ctes, scope)
            if join.args.get("on") is not None:
                self._expression(join.args["on"], ctes, scope)
        if tree.args.get("pivots"):
            scope.sources = dict.fromkeys(scope.sources) | {f"({len(scope.sources)}": None}

    def _renamed(self, tree: Tree, columns: _Columns) -> _Columns:
        alias = tree.args.get("alias")
        named = tuple(c.name.lower() for c in alias.columns) if isinstance(alias, exp.TableAlias) else ()
        return named + columns[len(named) :] if named and columns is not None else columns

    def _table(self, tree: exp.Table, ctes: dict[str, _Columns]) -> _Columns:
        name = tree.name
        if not tree.db and name.lower() in ctes:
            return ctes[name.lower()]
        parts = [part.name for part in tree.parts]
        for first in range(len(parts)):
            table = self.schema.table(".".join(parts[first:]))
            if table is not None:
                return tuple(table.by_name)
        identifier = tree.this
        if identifier.quoted and ("." in name or "/" in name):
            return None  # a file
        known = frozenset(self.schema.names()) | frozenset(ctes)
        self._report("table", identifier, known)
        return None

    # ------------------------------------------------------------------ columns

    def _expression(self, tree: Tree, ctes: dict[str, _Columns], scope: _Scope) -> None:
        if isinstance(tree, exp.Query) or (
            isinstance(tree, exp.Subquery) and isinstance(tree.this, exp.Query)
        ):
            self.query(tree, ctes, scope)
            return
        if isinstance(tree, exp.Column):
            self._column(tree, scope)
            return
        for part in tree.iter_expressions():
            self._expression(part, ctes, scope)

    def _column(self, tree: exp.Column, scope: _Scope) -> None:
        if isinstance(tree.this, exp.Star):
            if tree.table.lower() not in scope.sources:
                self._report("column", tree.args["table"], frozenset(scope.sources))
            return
        if not tree.table:
            self._column_named(tree.name, tree.this, scope)
            return
        qualifier = tree.table.lower()
        for place in scope.up():
            if qualifier in place.sources:
                columns = place.sources[qualifier]
                if (
                    columns is not None
                    and tree.name.lower() not in columns
                    and tree.name.lower() not in _FREE
                ):
                    self._report("column", tree.this, frozenset(columns))
                return
        first = tree.parts[0].name.lower()
        if not any(_has(place, first) for place in scope.up()) and first not in scope.sources:
            self._report("column", tree.parts[0], frozenset(a for place in scope.up() for a in place.sources))

    def _column_named(self, name: str, identifier: Tree, scope: _Scope) -> None:
        folded = name.lower()
        if folded in _FREE or folded in scope.sources:
            return
        if folded in scope.aliases or any(_has(place, folded) for place in scope.up()):
            return
        known = {c for place in scope.up() for columns in place.sources.values() for c in columns or ()}
        self._report("column", identifier, frozenset(known | scope.aliases))

    def _report(self, kind: str, identifier: Tree, known: frozenset[str]) -> None:
        place = identifier.this if isinstance(identifier, exp.Column) else identifier
        start, end = place.meta.get("start"), place.meta.get("end")
        if isinstance(start, int) and isinstance(end, int):
            self.findings.unknown.append(Unknown(kind, start, end + 1, place.name, known))
        else:
            self.findings.unknown.append(Unknown(kind, -1, -1, place.name, known))

    # ------------------------------------------------------------------ GROUP BY

    def _grouping(self, tree: exp.Select, scope: _Scope) -> None:
        group = tree.args.get("group")
        if group is not None and (
            group.args.get("all") or any(group.args.get(k) for k in ("rollup", "cube"))
        ):
            return
        grouped = list(group.expressions) if group is not None else []
        if any(not isinstance(e, exp.Condition) or _has_sets(e) for e in grouped):
            return
        having = tree.args.get("having")
        if not grouped and having is None and not any(_aggregates(item) for item in tree.expressions):
            return
        keys = {e.sql(dialect=self.dialect).lower() for e in grouped}
        keys |= {e.name.lower() for e in grouped if isinstance(e, exp.Column)}
        ordinals = {int(e.name) for e in grouped if isinstance(e, exp.Literal) and e.is_int}
        missing: dict[str, int] = {}
        for number, item in enumerate(tree.expressions, start=1):
            inner = item.this if isinstance(item, exp.Alias) else item
            if number in ordinals or (isinstance(item, exp.Alias) and item.alias.lower() in keys):
                continue
            for column in _bare(inner, keys, self.dialect):
                known = any(n.start == column.this.meta.get("start") for n in self.findings.unknown)
                own = not column.table or column.table.lower() in scope.sources
                if not known and own and isinstance(column.this.meta.get("start"), int):
                    missing.setdefault(column.sql(dialect=self.dialect), int(column.this.meta["start"]))
        if missing:
            self.findings.ungrouped.append(Ungrouped(next(iter(missing.values())), tuple(missing)))


def _star(scope: _Scope) -> _Columns:
    found: list[str] = []
    for columns in scope.sources.values():
        if columns is None:
            return None
        found += columns
    return tuple(found)


def _has(scope: _Scope, name: str) -> bool:
    return any(columns is None or name in columns for columns in scope.sources.values())


def _has_sets(tree: Tree) -> bool:
    return (
        isinstance(tree, exp.Tuple)
        or type(tree).__name__ in ("Rollup", "Cube", "GroupingSets")
        or (isinstance(tree, exp.Column) and tree.name.lower() == "all")
    )


def _aggregates(tree: Tree) -> bool:
    """Whether an expression has an aggregate of its own SELECT."""
    if isinstance(tree, exp.Query | exp.Subquery):
        return False
    if isinstance(tree, exp.Window):
        return any(_aggregates(part) for part in _window_parts(tree))
    if isinstance(tree, exp.AggFunc | exp.Filter | exp.WithinGroup):
        return True
    return any(_aggregates(part) for part in tree.iter_expressions())


def _window_parts(tree: exp.Window) -> Iterator[Tree]:
    """What a window function reads: arguments, PARTITION BY and ORDER BY, but not the function itself."""
    function = tree.this.this if isinstance(tree.this, exp.IgnoreNulls | exp.RespectNulls) else tree.this
    yield from function.iter_expressions()
    for key, value in tree.args.items():
        if key != "this":
            yield from (
                part
                for part in (value if isinstance(value, list) else [value])
                if isinstance(part, exp.Expression)
            )


def _bare(tree: Tree, keys: set[str], dialect: str) -> Iterator[exp.Column]:
    """Columns of an expression that are in no aggregate and in no grouped expression."""
    if isinstance(tree, exp.Query | exp.Subquery | exp.AggFunc | exp.Filter | exp.WithinGroup | exp.Literal):
        return
    if keys and tree.sql(dialect=dialect).lower() in keys:
        return
    if isinstance(tree, exp.Column):
        if not isinstance(tree.this, exp.Star) and tree.name.lower() not in keys:
            yield tree
        return
    parts = _window_parts(tree) if isinstance(tree, exp.Window) else tree.iter_expressions()
    for part in parts:
        yield from _bare(part, keys, dialect)
