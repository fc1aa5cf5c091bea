"""A query as blocks: what each SELECT reads, by which conditions, and what it makes of it.

`Statement.read` parses a text, qualifies every column, and refuses to reason about what it does not fully understand:
`statement.unknown` then says why, and nothing is speculated on or rewritten. A block is one SELECT without its ORDER BY
and LIMIT; two sources of blocks are the same where alias and content are, whatever a CTE is called.

Knows sqlglot's trees. Knows nothing of views, costs or engines.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from firsthand.query.speql.predicates import Conjunct, Premises, canonical, conjuncts_of, text_of
from firsthand.query.speql.schema import Schema

__all__ = [
    "VOLATILE",
    "Block",
    "Join",
    "Source",
    "Statement",
    "alias_of",
    "bodies_of",
    "free_aliases",
    "from_items",
    "own_columns",
    "settled",
]

# Functions whose value differs from call to call; engines may know more of them.
VOLATILE = frozenset(
    {
        "random", "rand", "setseed", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "currval", "lastval",
        "now", "current_date", "current_time", "current_timestamp", "current_datetime", "localtime", "localtimestamp",
        "today", "get_current_time", "get_current_timestamp", "transaction_timestamp", "statement_timestamp",
        "clock_timestamp", "timeofday", "next_value_for",
        "txid_current", "pg_sleep", "current_user", "session_user", "current_schema",
        "current_database", "current_catalog", "current_setting", "getvariable", "getenv",
    }
)  # fmt: skip

# Texts that these dialects read as the time at which they read them, where a date is meant: d >= 'yesterday'.
_MOMENT = re.compile(r"\b(now|today|tomorrow|yesterday)\b", re.IGNORECASE)
_TELLS_TIME = frozenset({"postgres", "redshift", "spark", "databricks"})

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
        problem = _not_settled(raw, schema, volatile)
        if problem:
            return cls(text, schema, raw, unknown=problem)
        problem = _not_reasoned_about(raw, schema)
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
    if name in _NUMBERS:
        return "number"
    return {"DATE": "date", **_OTHER_KINDS}.get(name)


_NUMBERS = frozenset(
    {
        "TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
        "UHUGEINT", "DECIMAL", "NUMERIC", "INT2", "INT4", "INT8",
    }
)  # fmt: skip
_OTHER_KINDS = {
    **dict.fromkeys(("FLOAT", "REAL", "DOUBLE", "DOUBLE PRECISION", "DOUBLE_PRECISION"), "float"),
    **dict.fromkeys(("VARCHAR", "TEXT", "STRING"), "text"),
}


# --- parts of trees ----------------------------------------------------------------------


def bodies_of(tree: exp.Query) -> Iterator[exp.Query]:
    """Every query inside a statement, outermost first: bodies of CTEs, derived tables, subqueries, arms of UNION."""
    for node in tree.walk(bfs=True):
        if isinstance(node, exp.Select | exp.SetOperation):
            yield node


def settled(query: exp.Query) -> bool:
    """Whether a query's rows are the same each time: no LIMIT or OFFSET anywhere in it, which may cut among equals."""
    return query.find(exp.Limit, exp.Fetch, exp.Offset) is None


def alias_of(item: exp.Expr) -> str:
    """The alias by which columns of a FROM clause's item are known."""
    return str(item.alias_or_name)


def from_items(select: exp.Select) -> Iterator[exp.Expr]:
    """Items of a SELECT's FROM clause, in order."""
    if select.args.get("from_") is not None:
        yield select.args["from_"].this
    for join in select.args.get("joins") or ():
        yield join.this


def own_columns(tree: exp.Expr, aliases: Collection[str]) -> Iterator[exp.Column]:
    """Columns under a tree that belong to the given aliases: not those of an inner SELECT that uses an alias again."""
    if isinstance(tree, exp.Column) and not isinstance(tree.this, exp.Star):
        if tree.table in aliases:
            yield tree
        return
    if isinstance(tree, exp.Select):
        hidden = {alias_of(item) for item in from_items(tree)}
        aliases = [alias for alias in aliases if alias not in hidden] if hidden else aliases
        if not aliases:
            return
    for part in tree.iter_expressions():
        yield from own_columns(part, aliases)


def free_aliases(tree: exp.Expr) -> frozenset[str]:
    """Aliases that a query uses and does not define: those of a query around it, where it is correlated."""
    if isinstance(tree, exp.Column):
        return frozenset({tree.table} if tree.table else ())
    found: frozenset[str] = frozenset().union(*(free_aliases(part) for part in tree.iter_expressions()))
    if isinstance(tree, exp.Select):
        found -= {alias_of(item) for item in from_items(tree)}
    return found


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


def _not_settled(raw: exp.Query, schema: Schema, volatile: Collection[str]) -> str:
    """What in a parsed text may give other rows each time, or ""."""
    for node in raw.walk():
        if isinstance(node, exp.TableSample):
            return "a sample differs from draw to draw"
        if isinstance(node, exp.Parameter | exp.Placeholder | exp.SessionParameter):
            return "a parameter"
        if isinstance(node, exp.Table):
            if not isinstance(node.this, exp.Identifier):
                return "a table function"
            table = schema.table(".".join(part for part in (node.catalog, node.db, node.name) if part))
            if table is None and not _names_cte(node):
                return f"{node.name} is no table of the catalog's: nothing tells when it changes"
            if table is not None and not table.settled:
                return f"{table.name} differs from read to read"
        if isinstance(node, exp.Literal) and node.is_string and _tells_time(node.name, schema.dialect):
            return f"'{node.name}' may mean a moment"
        if isinstance(node, exp.Func) and _function_name(node) in volatile:
            return f"{_function_name(node)}() differs from call to call"
        if isinstance(node, exp.Column) and not node.table and node.name.lower() in volatile:
            return f"{node.name} may differ from call to call"  # written without parentheses
    return ""


def _tells_time(text: str, dialect: str) -> bool:
    return dialect in _TELLS_TIME and _MOMENT.search(text) is not None


def _names_cte(table: exp.Table) -> bool:
    """Whether a name is that of a CTE of a query around it."""
    if table.db:
        return False
    around: exp.Expr | None = table.parent
    while around is not None:
        ctes = around.args.get("with_")
        if ctes is not None and any(one.alias.lower() == table.name.lower() for one in ctes.expressions):
            return True
        around = around.parent
    return False


def _not_reasoned_about(raw: exp.Query, schema: Schema) -> str:
    """What of a parsed text hinders reasoning before names are resolved, or ""."""
    for node in raw.walk():
        if isinstance(node, exp.With) and node.args.get("recursive"):
            return "a recursive CTE"
        if isinstance(node, exp.Lateral | exp.Unnest | exp.Values | exp.Pivot | exp.Lambda):
            return f"{type(node).__name__.lower()} is not looked into"
        if isinstance(node, exp.Join) and node.args.get("using") and node.side.upper() == "FULL":
            return "FULL JOIN ... USING"
        if isinstance(node, exp.Join) and node.method:
            return f"{node.method} join"
    return _ambiguous_alias(raw, schema)


def _function_name(node: exp.Func) -> str:
    name = node.name if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc) else node.sql_name()
    return name.lower()


def _ambiguous_alias(raw: exp.Query, schema: Schema) -> str:
    """An output name that is also a column's, used without a table where dialects differ on which of both it means.

    In ORDER BY all of them mean the output.
    """
    ctes = {cte.alias.lower(): cte.this for cte in raw.find_all(exp.CTE)}
    for select in raw.find_all(exp.Select):
        renamed: set[str] = set()
        doubtful: set[str] = set()
        for one in select.expressions:  # an output may be named by those to its right
            doubtful |= renamed & {column.name.lower() for column in _bare_columns(one)}
            plain = isinstance(one, exp.Alias) and isinstance(one.this, exp.Column)
            if isinstance(one, exp.Alias) and not (plain and one.this.name.lower() == one.alias.lower()):
                renamed.add(one.alias.lower())
        for name in ("where", "group", "having", "qualify", "distinct"):
            if isinstance(part := select.args.get(name), exp.Expr):
                doubtful |= renamed & {column.name.lower() for column in _bare_columns(part)}
        if doubtful:
            for item in from_items(select):
                columns = _columns_of(item, schema, ctes)
                for name in doubtful:
                    if columns is None or name in columns:
                        return f"{name} is both a column and an output's name"
    return ""


def _bare_columns(tree: exp.Expr) -> Iterator[exp.Column]:
    """Columns without a table, of this SELECT alone."""
    if isinstance(tree, exp.Query):
        return
    if isinstance(tree, exp.Column) and not tree.table:
        yield tree
    for part in tree.iter_expressions():
        yield from _bare_columns(part)


def _columns_of(
    item: exp.Expr, schema: Schema, ctes: Mapping[str, exp.Expr], depth: int = 0
) -> set[str] | None:
    """Names of the columns of a FROM clause's item, before names are resolved; None where they are not known."""
    if isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier):
        body = None if item.db else ctes.get(item.name.lower())
        if body is None:
            table = schema.table(".".join(part for part in (item.catalog, item.db, item.name) if part))
            return None if table is None else set(table.by_name)
    elif isinstance(item, exp.Subquery):
        body = item.this
    else:
        return None
    if not isinstance(body, exp.Query) or depth > 20:
        return None
    found: set[str] = set()
    for name in body.named_selects:
        if name != "*":
            found.add(name.lower())
            continue
        while isinstance(body, exp.SetOperation | exp.Subquery):
            body = body.this
        for inner in from_items(body) if isinstance(body, exp.Select) else ():
            columns = _columns_of(inner, schema, ctes, depth + 1)
            if columns is None:
                return None
            found |= columns
    return found


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
