"""Whether a piece of a query is whole: what sqlglot takes for an expression, and what says yes or no by itself.

Knows pieces of a query, and of the schema which columns are BOOLEAN. Databases take `quantity` for `quantity <> 0`; a
name that stands where a condition should be is half a condition, unless its column says yes or no.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import sqlglot
from sqlglot import exp

from firsthand.query.speql.names import READ_ERRORS
from firsthand.query.speql.parts import CONDITIONS, Node
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.text import Token

__all__ = ["bare_condition", "dangles", "parsed", "reads"]

_DANGLING = frozenset(
    {
        "AND",
        "OR",
        "NOT",
        "IN",
        "BETWEEN",
        "LIKE",
        "ILIKE",
        "SIMILAR",
        "GLOB",
        "IS",
        "AS",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
    }
    | {
        "DISTINCT",
        "BY",
        "ON",
        "USING",
        "ESCAPE",
        "INTERVAL",
        "COLLATE",
        "EXISTS",
        "FROM",
        "OVER",
        "FILTER",
        "SELECT",
    }
    | {"RECURSIVE", "MATERIALIZED", "UNION", "WITH", "JOIN"}
)
_CONDITION_FUNCTIONS = frozenset(
    {
        "STARTS_WITH",
        "ENDS_WITH",
        "CONTAINS",
        "PREFIX",
        "SUFFIX",
        "REGEXP_MATCHES",
        "REGEXP_LIKE",
        "LIST_CONTAINS",
    }
    | {
        "REGEXP_FULL_MATCH",
        "REGEXPFULLMATCH",
        "LIST_HAS",
        "ARRAY_CONTAINS",
        "ARRAY_HAS",
        "LIST_HAS_ANY",
        "EVERY",
    }
    | {"LIST_HAS_ALL", "ISNAN", "ISINF", "ISFINITE", "JSON_EXISTS", "JSON_VALID", "JSON_CONTAINS", "BOOL_AND"}
    | {"BOOL_OR", "LIKE_ESCAPE"}
)


def dangles(token: Token) -> bool:
    """Whether nothing that is finished ends with this token."""
    if token.kind == "word":
        return token.upper in _DANGLING
    if token.kind == "operator":
        return token.text not in ("*", "?")
    return token.kind == "punctuation" and token.text in ",.([{"


@lru_cache(maxsize=4096)
def parsed(fragment: str, kind: str, dialect: str) -> exp.Expr | None:
    """The tree of a condition (`kind` "condition"), or of what follows the words `kind`; None: it is none."""
    try:
        if kind == "condition":
            return sqlglot.parse_one(fragment, read=dialect, into=exp.Condition)
        return sqlglot.parse_one(kind + fragment, read=dialect)
    except READ_ERRORS:
        return None


def reads(fragment: str, condition: bool, clause: str, dialect: str, schema: Schema) -> bool:
    """Whether a fragment is a whole condition, or a whole member of a clause."""
    if condition:
        tree = parsed(fragment, "condition", dialect)
        return tree is not None and _says_yes_or_no(tree, schema)
    lead = {
        "GROUP BY": "SELECT 1 GROUP BY ",
        "ORDER BY": "SELECT 1 ORDER BY ",
        "LIMIT": "SELECT 1 LIMIT ",
    }.get(clause)
    if lead is None and clause not in ("SELECT", "in"):
        return True  # WINDOW, USING SAMPLE, VALUES: the database will say
    return parsed(fragment, lead or "SELECT ", dialect) is not None


def _says_yes_or_no(tree: exp.Expr, schema: Schema) -> bool:
    while isinstance(tree, exp.Paren):
        tree = tree.this
    if isinstance(tree, exp.Connector):
        return _says_yes_or_no(tree.left, schema) and _says_yes_or_no(tree.right, schema)
    if isinstance(tree, exp.Not):
        return _says_yes_or_no(tree.this, schema)
    if isinstance(tree, exp.Predicate | exp.Boolean | exp.Exists | exp.In):
        return True
    if isinstance(tree, exp.Column):
        return _boolean_column(tree.name, schema)
    if isinstance(tree, exp.Cast):
        return bool(tree.to.is_type(exp.DataType.Type.BOOLEAN))
    if isinstance(tree, exp.Anonymous):
        return tree.name.upper() in _CONDITION_FUNCTIONS
    if isinstance(tree, exp.Func):
        names = {name.upper() for name in type(tree).sql_names()} | {type(tree).__name__.upper()}
        return bool(names & _CONDITION_FUNCTIONS)
    return isinstance(tree, exp.Binary) and type(tree).__name__.startswith(
        ("ArrayContain", "Regexp", "ArrayOverlap")
    )


def _boolean_column(name: str, schema: Schema) -> bool:
    """Whether a name can be a condition by itself: it is a BOOLEAN column, or none of the schema's."""
    types = [table.by_name[name.lower()].type for table in schema.tables if name.lower() in table.by_name]
    return not types or any(type_.upper().startswith("BOOL") for type_ in types)


def bare_condition(tokens: Sequence[Token], root: Node, place: int, schema: Schema) -> Node | None:
    """The conjunct that ends at a place of the text and is no more than a column that says neither yes nor no.

    Databases take `quantity` for `quantity <> 0`: rows with 0 and NULL would be missing without a word.
    """
    for node in root.walk():
        if node.kind != "conjunct" or node.end - node.start not in (1, 3):
            continue
        last = tokens[node.end - 1]
        if last.start < place <= last.end and last.is_name and node.parent is not None:
            names = tokens[node.start : node.end]
            if all(token.is_name or token.text == "." for token in names):
                in_condition = node.parent.kind == "on" or node.parent.name in CONDITIONS
                if (
                    in_condition
                    and last.upper not in ("TRUE", "FALSE")
                    and not _boolean_column(last.name, schema)
                ):
                    return node
    return None
