"""What to make ahead of a submission, and in which order: the vertices of a snapshot.

From a repaired query to definitions of views, one vertex each, and a preview of the SELECT at the cursor. The order is
that of the paper's scheduler: what the preview reads, the preview, then the rest; inner queries before outer ones.
Knows trees and definitions. Runs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from firsthand.query.speql.blocks import Block, Statement
from firsthand.query.speql.bodies import Body
from firsthand.query.speql.predicates import text_of
from firsthand.query.speql.trees import bodies_of, free_aliases
from firsthand.query.speql.views import Answer, Definition, Groups, Rows, Text, answer_of, groups_of, rows_of

__all__ = ["Vertex", "plan_views", "text_vertex"]


@dataclass(frozen=True)
class Vertex:
    """A speculative table that would be worth having.

    Attributes:
        key: equal for equal definitions: a snapshot that asks for the same again finds it queued, running or done.
        kind: "rows", "groups" or "answer".
        definition: what it holds.
        parents: keys of vertices that it can be made from (inner queries that it reads, rows that it groups).
        query: the part of the query that it serves, as text, for people.
    """

    key: str
    kind: str
    definition: Definition
    parents: tuple[str, ...] = ()
    query: str = field(default="", compare=False)


def plan_views(
    statement: Statement,
    at_cursor: exp.Query | None = None,
    extra: Mapping[str, Iterable[str]] | None = None,
    typed: Collection[str] = (),
) -> list[Vertex]:
    """Vertices of a statement in the order in which they should be made; none of what is not understood.

    Args:
        at_cursor: the query that the preview shows; what it reads comes first.
        extra: columns by alias that will be wanted too (from a guess at the rest of the query).
        typed: names, folded, that stand in the text, also where a repair left them out: columns of these names are
            kept in rows.
    """
    if statement.unknown or statement.tree is None:
        return []
    made: dict[str, Vertex] = {}
    keys_of: dict[int, tuple[str, ...]] = {}
    first: list[str] = []
    for query in _inner_first(statement):
        if free_aliases(query):
            keys_of[id(query)] = ()
            continue
        inner = tuple(key for child in _children(statement, query) for key in keys_of.get(id(child), ()))
        vertices = list(_vertices(statement, query, inner, extra or {}, typed))
        for vertex in vertices:
            made.setdefault(vertex.key, vertex)
        keys_of[id(query)] = tuple(vertex.key for vertex in vertices) or inner
        if query is at_cursor:
            first = [*_ancestors(inner, made), *(v.key for v in vertices if v.kind != "rows")]
    ordered = [*dict.fromkeys([*first, *made])]
    return [made[key] for key in ordered]


def text_vertex(body: Body, names: Sequence[str]) -> Vertex:
    """The vertex of a body that is not understood; `names` are those of its columns."""
    columns = ", ".join(f"c{place}" for place in range(len(names)))
    key = hashlib.blake2b("\0".join(body.key).encode(), digest_size=12).hexdigest()
    definition = Text(key, tuple(names), f"SELECT * FROM (\n{body.text}\n) AS _q({columns})")
    return Vertex(f"text {key}", "answer", definition, (), body.text)


def _ancestors(keys: Iterable[str], made: Mapping[str, Vertex]) -> list[str]:
    found: dict[str, None] = {}
    for key in keys:
        if key in made:
            for one in (*_ancestors(made[key].parents, made), key):
                found[one] = None
    return list(found)


def _inner_first(statement: Statement) -> list[exp.Query]:
    """Every query of the statement, those that others read before these."""
    assert statement.tree is not None
    return list(reversed(list(bodies_of(statement.tree))))


def _children(statement: Statement, query: exp.Query) -> list[exp.Query]:
    """Queries right inside a query, and the bodies of CTEs that it names."""
    found: list[exp.Query] = []
    stack = list(query.iter_expressions())
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Select | exp.SetOperation):
            found.append(node)
            continue
        if isinstance(node, exp.Table) and not node.db and node.name in statement.ctes:
            found.append(statement.ctes[node.name])
        if not isinstance(node, exp.With):
            stack += node.iter_expressions()
    return found


def _vertices(
    statement: Statement,
    query: exp.Query,
    inner: tuple[str, ...],
    extra: Mapping[str, Iterable[str]],
    typed: Collection[str],
) -> Iterable[Vertex]:
    shown = text_of(query, statement.dialect)
    block = statement.block(query) if isinstance(query, exp.Select) else None
    below: tuple[str, ...] = inner
    rows = None
    if block is not None:
        pairs = [(alias, name) for alias in block.aliases for name in extra.get(alias, ())]
        rows = _rows(statement, block, [*pairs, *_typed_columns(statement, block, typed)])
        groups = groups_of(statement, block, pairs)
        if groups is not None:
            yield Vertex(_key(groups, statement), "groups", groups, below, shown)
    else:
        groups = None
    plain = block is not None and not block.aggregates and not _more_than_rows(block.select)
    if groups is None and not (plain and rows is not None) and not _trivial(query):
        answer = answer_of(statement, query)
        if answer is not None:
            yield Vertex(_key(answer, statement), "answer", answer, below, shown)
    if rows is not None:
        yield Vertex(_key(rows, statement), "rows", rows, inner, shown)


def _rows(statement: Statement, block: Block, extra: Iterable[tuple[str, str]]) -> Rows | None:
    """Rows of a block, where the block does something to its tables: a filter or a join on something."""
    return rows_of(statement, block, extra) if block.conjuncts else None


def _typed_columns(statement: Statement, block: Block, typed: Collection[str]) -> Iterable[tuple[str, str]]:
    """Columns of a block's tables whose names stand in the text."""
    for join in block.joins if typed else ():
        table = statement.schema.table(join.source.key.removeprefix("table:"))
        if join.source.key.startswith("table:") and table is not None:
            yield from ((join.source.alias, name) for name in table.by_name if name in typed)


def _more_than_rows(select: exp.Select) -> bool:
    """Whether a SELECT that does not group makes more of its rows than a list of values."""
    if select.args.get("distinct") or select.args.get("qualify"):
        return True
    return any(one.find(exp.Window) is not None for one in select.expressions)


def _trivial(query: exp.Query) -> bool:
    """SELECT columns FROM one table: as large as the table, and no faster to read."""
    if not isinstance(query, exp.Select):
        return False
    if query.args.get("from_") is None:
        return True
    return not any(
        query.args.get(name) for name in ("joins", "where", "group", "having", "distinct", "qualify")
    ) and not any(one.find(exp.AggFunc, exp.Window, exp.Query) for one in query.expressions)


def _key(definition: Definition, statement: Statement) -> str:
    """A text that says what a definition holds."""
    if isinstance(definition, Answer | Text):
        return f"{'answer' if isinstance(definition, Answer) else 'text'} {definition.key}"
    joins = "; ".join(
        f"{join.kind} {join.source.alias}={join.source.key} {join.on}" for join in definition.joins
    )
    conjuncts = " AND ".join(sorted(definition.conjuncts))
    if isinstance(definition, Rows):
        columns = ",".join(f"{alias}.{name}" for alias, name in definition.columns)
        return f"rows {joins} | {conjuncts} | {columns}"
    assert isinstance(definition, Groups)
    return f"groups {joins} | {conjuncts} | {definition.group} | {[m.text for m in definition.measures]}"
