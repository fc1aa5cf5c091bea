"""Parts of sqlglot's trees: the queries in a query, what a FROM clause names, whose a column is.

Knows how aliases hide one another. Knows nothing of schemas.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlglot import exp

__all__ = ["alias_of", "bodies_of", "free_aliases", "from_items", "own_columns", "settled"]


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
