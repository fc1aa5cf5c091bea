"""A query as blocks: what each SELECT reads, by which conditions, and what it makes of it.

`Statement.read` parses a text, qualifies every column, and refuses to reason about what it does not fully understand:
`statement.unknown` then says why, and nothing is speculated on or rewritten. A block is one SELECT without its ORDER BY
and LIMIT; two sources of blocks are the same where alias and content are, whatever a CTE is called.

Knows sqlglot's trees. Knows nothing of views, costs or engines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from firsthand.query.speql.predicates import Conjunct, Premises, canonical, conjuncts_of, text_of
from firsthand.query.speql.reasoning import VOLATILE, not_reasoned_about, not_settled
from firsthand.query.speql.schema import EXACT_NUMBERS, Schema
from firsthand.query.speql.trees import alias_of, free_aliases, settled

__all__ = ["Block", "Join", "Source", "Statement"]


_SELECT_PARTS = frozenset(
    {
        "kind", "expressions", "distinct", "operation_modifiers", "from_", "joins", "where", "group", "having",
        "qualify", "windows", "order", "limit", "offset", "with_",
    }
)  # fmt: skip
_JOIN_PARTS = frozenset({"this", "on", "side", "kind"})
_TABLE_PARTS = frozenset({"this", "alias", "db", "catalog"})
_BODY_PARTS = frozenset({"this", "alias"})


@dataclass(frozen=True)
class Source:
    """What a FROM clause names: an alias, and a key that is equal where the rows are."""

    alias: str
    key: str


@dataclass(frozen=True)
class Join:
    """One item of a FROM clause, in order: how it is joined, and on what (outer joins alone keep their condition)."""

    kind: str  # "inner", "left", "right", "full"
    source: Source
    on: str = ""


@dataclass(frozen=True, eq=False)
class Block:
    """One SELECT, read.

    Attributes:
        select: its tree, qualified; part of the statement's tree.
        joins: sources in the order of the FROM clause.
        conjuncts: of WHERE, and of the inner joins before the first outer one, by text.
        premises: the same, to be asked what follows from them.
    """

    select: exp.Select
    joins: tuple[Join, ...]
    conjuncts: Mapping[str, Conjunct]
    premises: Premises

    @cached_property
    def inner(self) -> tuple[Source, ...]:
        """Sources before the first outer join: they may be joined in any order."""
        found = []
        for join in self.joins:
            if join.kind != "inner":
                break
            found.append(join.source)
        return tuple(found)

    @cached_property
    def inner_set(self) -> frozenset[Source]:
        """The same as a set."""
        return frozenset(self.inner)

    @property
    def tail(self) -> tuple[Join, ...]:
        """The first outer join and what follows it, in order."""
        return self.joins[len(self.inner) :]

    @cached_property
    def aliases(self) -> frozenset[str]:
        """Aliases of all sources."""
        return frozenset(join.source.alias for join in self.joins)

    @cached_property
    def aggregates(self) -> bool:
        """Whether rows are grouped, with or without GROUP BY."""
        if self.select.args.get("group") or self.select.args.get("having"):
            return True
        return any(_groups(one) for one in self.select.expressions)


def _groups(tree: exp.Expr) -> bool:
    """Whether an aggregate of this SELECT's own stands in an expression (not a window's, not a subquery's)."""
    if isinstance(tree, exp.Query):
        return False
    if isinstance(tree, exp.Window):
        inner = tree.this
        while isinstance(inner, exp.Filter | exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup):
            inner = inner.this
        parts = [
            *inner.iter_expressions(),
            *(part for part in tree.iter_expressions() if part is not tree.this),
        ]
        return any(_groups(part) for part in parts)
    return isinstance(tree, exp.AggFunc) or any(_groups(part) for part in tree.iter_expressions())


@dataclass(frozen=True, eq=False)
class Statement:
    """A text, parsed and qualified.

    Attributes:
        text: as given.
        tree: the statement with every column qualified; the WITH clause stays in it.
        ctes: the body of every CTE by name.
        unknown: why nothing is known of it; "" where all is. Then `tree` may be the bare parse, or None.
        opaque: of one that is not known, whether its rows are at least the same each time.
    """

    text: str
    schema: Schema
    tree: exp.Query | None
    ctes: Mapping[str, exp.Query] = field(default_factory=dict)
    unknown: str = ""
    opaque: bool = False

    @classmethod
    def read(cls, text: str, schema: Schema, *, volatile: Collection[str] = VOLATILE) -> Statement:
        """Parse and qualify a text; never raises: what cannot be understood has `unknown`."""
        dialect = schema.dialect
        try:
            parsed = sqlglot.parse(text, read=dialect)
        except (SqlglotError, RecursionError, ValueError) as error:
            return cls(text, schema, None, unknown=f"not parsed: {_first_line(error)}")
        queries = [one for one in parsed if one is not None]
        if len(queries) != 1 or not isinstance(queries[0], exp.Query):
            return cls(text, schema, None, unknown="not one query")
        raw = queries[0]
        problem = not_settled(raw, schema, volatile)
        if problem:
            return cls(text, schema, raw, unknown=problem)
        problem = not_reasoned_about(raw, schema)
        if problem:
            return cls(text, schema, raw, unknown=problem, opaque=True)
        try:
            tree = qualify(raw, schema=schema.sqlglot, dialect=dialect, validate_qualify_columns=False)
        except (SqlglotError, RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
            return cls(text, schema, raw, unknown=f"columns not resolved: {_first_line(error)}", opaque=True)
        if not isinstance(tree, exp.Query):
            return cls(text, schema, raw, unknown="not one query")
        ctes = {cte.alias: cte.this for cte in tree.find_all(exp.CTE)}
        found = cls(text, schema, tree, ctes)
        problem = found._not_resolved()
        return cls(text, schema, tree, ctes, problem, opaque=True) if problem else found

    @property
    def dialect(self) -> str:
        """sqlglot's name of the dialect."""
        return self.schema.dialect

    def _not_resolved(self) -> str:
        """What of the qualified tree hinders reasoning, or ""."""
        assert self.tree is not None
        names = [cte.alias for cte in self.tree.find_all(exp.CTE)]
        if len(set(names)) < len(names):
            return "two CTEs have one name"
        for name in names:
            if self.schema.table(name) is not None:
                return f"the CTE {name} hides a table"
        for select in self.tree.find_all(exp.Select):
            for star in select.find_all(exp.Star):
                if not isinstance(star.parent, exp.Count):
                    return "a star that is not resolved"
            for column in select.find_all(exp.Column):
                if not column.table and not _in_order(column):
                    return f"column {column.name} is not resolved"
        if free_aliases(self.tree):
            return "a column of no table"
        return ""

    def key(self, query: exp.Expr) -> str:
        """A key that two parts of statements share where their rows are the same, whatever their CTEs are called.

        `query` is a part of the tree, or a copy of one; CTEs that it reads count by their own keys.
        """
        text = text_of(query, self.dialect) + self.cte_keys(query)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    @cached_property
    def _cte_keys(self) -> dict[str, str]:
        return {}

    def cte_keys(self, part: exp.Expr) -> str:
        """Names of the CTEs that a part of the tree reads, with their keys; "" where it reads none."""
        names = sorted({t.name for t in part.find_all(exp.Table) if not t.db and t.name in self.ctes})
        for name in names:
            if name not in self._cte_keys:
                self._cte_keys[name] = self.key(self.ctes[name])
        return "".join(f" /*{name}={self._cte_keys[name]}*/" for name in names)

    def source(self, item: exp.Expr) -> Source | None:
        """What an item of a FROM clause is, or None where rows of it are not known to be the same twice."""
        if isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier):
            if not _only(item, _TABLE_PARTS) or _renames(item):
                return None
            if not item.db and item.name in self.ctes:
                body = self.ctes[item.name]
                if not settled(body):
                    return None
                self.cte_keys(item)
                return Source(alias_of(item), "query:" + self._cte_keys[item.name])
            name = ".".join(part for part in (item.catalog, item.db, item.name) if part)
            table = self.schema.table(name)
            return None if table is None else Source(alias_of(item), "table:" + table.name.lower())
        if isinstance(item, exp.Subquery) and _only(item, _BODY_PARTS) and not _renames(item):
            body = item.this
            if isinstance(body, exp.Query) and item.alias and settled(body) and not free_aliases(body):
                return Source(item.alias, "query:" + self.key(body))
        return None

    def block(self, select: exp.Select) -> Block | None:
        """A SELECT as a block, or None where something in it is beyond what is reasoned about here."""
        if not _only(select, _SELECT_PARTS) or select.args.get("from_") is None:
            return None
        joins: list[Join] = []
        conditions: list[exp.Expr] = []
        # A RIGHT or FULL JOIN brings back what an earlier condition dropped: then ON and WHERE are not one.
        apart = any(one.side.upper() in ("RIGHT", "FULL") for one in select.args.get("joins") or ())
        items = [
            (select.args["from_"].this, None),
            *((join.this, join) for join in select.args.get("joins") or ()),
        ]
        for item, join in items:
            source = self.source(item)
            kind = "inner" if join is None else _join_kind(join)
            if source is None or not kind:
                return None
            on = None if join is None else join.args.get("on")
            if kind == "inner" and not apart and all(one.kind == "inner" for one in joins):
                conditions += [on] if on is not None else []
                joins.append(Join(kind, source))
            else:
                text = (
                    ""
                    if on is None
                    else text_of(canonical(on, self.dialect), self.dialect) + self.cte_keys(on)
                )
                joins.append(Join(kind, source, text))
        if len({join.source.alias for join in joins}) < len(joins):
            return None
        where = select.args.get("where")
        conditions += [where.this] if where is not None else []
        conjuncts: dict[str, Conjunct] = {}
        for condition in conditions:
            for text, conjunct in conjuncts_of(condition, self.dialect).items():
                whole = text + self.cte_keys(conjunct.tree) if conjunct.has_query else text
                conjuncts[whole] = Conjunct(whole, conjunct.tree)
        premises = Premises(conjuncts.values(), self._kind_of(joins), self.dialect)
        return Block(select, tuple(joins), conjuncts, premises)

    def _kind_of(self, joins: Sequence[Join]) -> Callable[[exp.Column], str | None]:
        """How columns of these tables compare with constants (see `predicates`)."""
        tables = {
            join.source.alias: self.schema.table(join.source.key.removeprefix("table:"))
            for join in joins
            if join.source.key.startswith("table:")
        }

        def kind(column: exp.Column) -> str | None:
            table = tables.get(column.table)
            found = None if table is None else table.by_name.get(column.name.lower())
            return None if found is None else _kind(found.type)

        return kind


def _kind(type_: str) -> str | None:
    name = type_.upper().partition("(")[0].strip()
    if name in EXACT_NUMBERS:
        return "number"
    return {"DATE": "date", **_OTHER_KINDS}.get(name)


_OTHER_KINDS = {
    **dict.fromkeys(("FLOAT", "REAL", "DOUBLE", "DOUBLE PRECISION", "DOUBLE_PRECISION"), "float"),
    **dict.fromkeys(("VARCHAR", "TEXT", "STRING"), "text"),
}


def _in_order(column: exp.Column) -> bool:
    """Whether a column stands in a query's ORDER BY (not in a window's), where names mean outputs."""
    order = column.find_ancestor(exp.Order)
    return order is not None and isinstance(order.parent, exp.Query)


def _join_kind(join: exp.Join) -> str:
    """inner, left, right or full; "" for what is not reasoned about."""
    if not _only(join, _JOIN_PARTS):
        return ""
    side, kind = join.side.upper(), join.kind.upper()
    if kind not in ("", "INNER", "CROSS", "OUTER"):
        return ""
    return {"": "inner", "LEFT": "left", "RIGHT": "right", "FULL": "full"}.get(side, "")


def _only(node: exp.Expr, parts: Collection[str]) -> bool:
    """Whether a node has no other arguments than these."""
    return all(name in parts for name, value in node.args.items() if value not in (None, [], False))


def _renames(item: exp.Expr) -> bool:
    """Whether an alias gives columns new names: FROM t AS u(a, b)."""
    alias = item.args.get("alias")
    return isinstance(alias, exp.TableAlias) and bool(alias.args.get("columns"))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
