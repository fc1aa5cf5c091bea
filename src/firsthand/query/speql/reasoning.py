"""What may be reasoned about: texts that give the same rows each time, and names that mean one thing.

Asked of a text that is parsed and not yet qualified. Knows functions, schemas and the sharp edges of names. Knows
nothing of blocks or views.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from sqlglot import exp

from firsthand.query.speql.schema import Schema
from firsthand.query.speql.trees import from_items

__all__ = ["VOLATILE", "not_reasoned_about", "not_settled"]

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


def not_settled(raw: exp.Query, schema: Schema, volatile: Collection[str]) -> str:
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


def not_reasoned_about(raw: exp.Query, schema: Schema) -> str:
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
