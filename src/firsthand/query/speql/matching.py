"""Which views may answer a query, proven: a view is used only where its rows are exactly those that the query asks for.

- `match(view, block, statement)`: the block's SELECT reading the view in place of tables, or None.
- `rewrite(statement, views, ...)`: the whole statement with the cheapest views that are allowed, and which they are.

The rules follow the view matching of SPJG blocks (select, project, join, group). A view of rows serves a block where
it joins no more than the block does, keeps every row that the block keeps, and has the columns that are still needed;
conditions that the view does not promise word for word stay. A view of groups serves where its groups are as fine.
Knows trees. Knows nothing of engines but the sizes that it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from firsthand.query.speql.blocks import Block, Join, Statement
from firsthand.query.speql.grouping import match_groups
from firsthand.query.speql.predicates import Conjunct, all_of, text_of
from firsthand.query.speql.trees import alias_of, from_items, own_columns
from firsthand.query.speql.views import (
    Answer,
    Groups,
    Rows,
    View,
    body_key,
)

__all__ = ["Rewrite", "match", "rewrite"]


@dataclass(frozen=True)
class Rewrite:
    """A statement that reads views.

    Attributes:
        sql: to run; it gives the statement's rows under the statement's names, where these are written in it.
        views: that it reads, each once.
    """

    sql: str
    views: tuple[View, ...]


Fits = Callable[[View, Sequence[int], exp.Expr], bool]
"""Says whether reading those columns of a view is worth it against what the part of the query reads without it."""


def rewrite(statement: Statement, views: Sequence[View], fits: Fits | None = None) -> Rewrite | None:
    """The statement with views in place of what they hold; None where no view may serve, or none is worth it.

    Args:
        views: all that were made of the data as it is now; the smallest are tried first.
        fits: see `Fits`; without it whatever may serve does.
    """
    if statement.unknown or statement.tree is None:
        return None
    work = _Rewriting(statement, sorted(views, key=lambda view: view.bytes), fits)
    tree = work.whole()
    if not work.used:
        return None
    return Rewrite(text_of(tree, statement.dialect), tuple(work.used))


def match(view: View, block: Block, statement: Statement) -> exp.Select | None:
    """The block's SELECT over the view, or None where its rows might differ. Pure: the block is not changed."""
    definition = view.definition
    if not isinstance(definition, Rows | Groups):
        return None
    covered = _covered(definition.joins, definition.conjuncts, block)
    return None if covered is None else _matched(view, covered, block, statement)


def _matched(view: View, covered: frozenset[str], block: Block, statement: Statement) -> exp.Select | None:
    """`match` of a view that may stand for the covered aliases."""
    definition = view.definition
    if isinstance(definition, Rows):
        return _match_rows(view, definition, covered, block)
    assert isinstance(definition, Groups)
    return match_groups(view, definition, covered, block, statement)


class _Rewriting:
    """One statement being rewritten, from the outside in: a query that is served whole is not looked into."""

    def __init__(self, statement: Statement, views: Sequence[View], fits: Fits | None) -> None:
        self.statement, self.views, self.fits = statement, views, fits
        self.used: list[View] = []

    def whole(self) -> exp.Query:
        statement = self.statement
        assert statement.tree is not None
        found = self.query(statement.tree)
        found.set("with_", None)
        done: dict[str, exp.Query] = {}
        while True:  # CTEs that are still read, each as its readers see it
            todo = [
                table.name
                for tree in (found, *done.values())
                for table in tree.find_all(exp.Table)
                if not table.db and table.name in statement.ctes and table.name not in done
            ]
            inside = {cte.alias for tree in (found, *done.values()) for cte in tree.find_all(exp.CTE)}
            todo = [name for name in todo if name not in inside]
            if not todo:
                break
            done[todo[0]] = self.query(statement.ctes[todo[0]])
        kept = [_cte(statement.ctes[name], done[name]) for name in statement.ctes if name in done]
        if kept:
            found.set("with_", exp.With(expressions=kept))
        return found

    def query(self, query: exp.Query) -> exp.Query:
        """A copy of a query in which views stand for what they may stand for."""
        served = self.served_whole(query)
        if served is not None:
            return served
        if isinstance(query, exp.Select):
            block = self.statement.block(query)
            found = self.served_block(query, block) if block is not None else None
            copy: exp.Query = query.copy() if found is None else found
        else:
            copy = query.copy()
        self.inside(copy)
        return copy

    def inside(self, tree: exp.Expr) -> None:
        """Rewrite the queries right under a tree, in place."""
        for part in list(tree.iter_expressions()):
            if isinstance(part, exp.With):
                continue  # read by name, in `whole`
            if isinstance(part, exp.Select | exp.SetOperation):
                part.replace(self.query(part))
            else:
                self.inside(part)

    def served_whole(self, query: exp.Query) -> exp.Query | None:
        answers = [view for view in self.views if isinstance(view.definition, Answer)]
        if not answers:
            return None
        key = body_key(self.statement, query)
        if key is None:
            return None
        for view in answers:
            if isinstance(view.definition, Answer) and view.definition.key == key:
                found = _read_answer(view, view.definition, query, query is self.statement.tree)
                if found is not None and self.worth(view, range(len(view.types)), query):
                    self.use(view)
                    return found
        return None

    def served_block(self, query: exp.Select, block: Block) -> exp.Select | None:
        """The block over the view that leaves the fewest tables to be read, the smallest of several."""
        candidates = []
        for place, view in enumerate(self.views):
            if isinstance(view.definition, Rows | Groups):
                covered = _covered(view.definition.joins, view.definition.conjuncts, block)
                if covered is not None:
                    candidates.append((-len(covered), place, view, covered))
        for _, _, view, covered in sorted(candidates, key=lambda candidate: candidate[:2]):
            found = _matched(view, covered, block, self.statement)
            if found is not None and self.worth(view, _columns_read(found, view), query):
                self.use(view)
                return found
        return None

    def worth(self, view: View, read: Sequence[int], query: exp.Expr) -> bool:
        return self.fits is None or self.fits(view, read, query)

    def use(self, view: View) -> None:
        if view not in self.used:
            self.used.append(view)


def _cte(body: exp.Query, found: exp.Query) -> exp.CTE:
    cte = body.parent
    assert isinstance(cte, exp.CTE)
    return exp.CTE(this=found, alias=cte.args["alias"].copy())


def _columns_read(select: exp.Select, view: View) -> list[int]:
    """Numbers of the view's columns that a rewritten SELECT reads."""
    alias = view.alias
    return sorted({int(column.name[1:]) for column in select.find_all(exp.Column) if column.table == alias})


# --- answers ----------------------------------------------------------------------


def _read_answer(view: View, answer: Answer, query: exp.Query, root: bool) -> exp.Select | None:
    """The answer's rows under the query's names; of the whole statement in its order and as many as it asks for."""
    found = exp.Select(
        expressions=[exp.alias_(view.column(n), name, quoted=True) for n, name in enumerate(answer.names)],
        from_=exp.From(this=view.table()),
    )
    if not root:
        return found
    order = query.args.get("order")
    if order is not None:
        places = {name: n for n, name in enumerate(answer.names)}
        if len(places) < len(answer.names):
            return None  # which of two outputs of one name is meant, engines answer each in their own way
        outputs = (
            {text_of(_bare(one), "duckdb"): n for n, one in enumerate(query.expressions)}
            if isinstance(query, exp.Select)
            else {}
        )
        ordered = order.copy()
        for term in ordered.expressions:
            if not isinstance(term, exp.Ordered) or not _over_outputs(term, view, places, outputs):
                return None
        found.set("order", ordered)
    for name in ("limit", "offset"):
        if query.args.get(name) is not None:
            found.set(name, query.args[name].copy())
    return found


def _bare(output: exp.Expr) -> exp.Expr:
    return output.this if isinstance(output, exp.Alias) else output


def _over_outputs(
    term: exp.Ordered, view: View, places: Mapping[str, int], outputs: Mapping[str, int]
) -> bool:
    """Put columns of the view into a term of ORDER BY, in place; whether all of it could be."""
    whole = outputs.get(text_of(term.this, "duckdb"))
    if whole is not None:
        term.set("this", view.column(whole))
        return True
    if isinstance(term.this, exp.Literal):
        return term.this.is_int  # a place in the list of outputs
    for node in list(term.this.walk()):
        if isinstance(node, exp.Query | exp.AggFunc | exp.Window):
            return False
    for column in list(term.this.find_all(exp.Column)):
        number = places.get(column.name) if not column.table else outputs.get(text_of(column, "duckdb"))
        if number is None:
            return False
        column.replace(view.column(number))
    return True


# --- rows ----------------------------------------------------------------------


def _covered(
    joins: tuple[Join, ...], conjuncts: Mapping[str, Conjunct], block: Block
) -> frozenset[str] | None:
    """Aliases that a view's rows stand for in a block, or None where they may not.

    Without outer joins the view's sources may be any of those that the block joins before its first outer join. With
    them its FROM clause must be the block's, or the beginning of it, word for word. Conditions of the view are right
    to have been applied early as long as no RIGHT or FULL JOIN follows, which would bring back what they dropped.
    """
    if all(join.kind == "inner" for join in joins):
        if not {join.source for join in joins} <= block.inner_set:
            return None
        follows = block.tail
    else:
        if block.joins[: len(joins)] != joins:
            return None
        follows = block.joins[len(joins) :]
    if any(join.kind in ("right", "full") for join in follows):
        return None
    for text, conjunct in conjuncts.items():
        if text not in block.conjuncts and not block.premises.imply(conjunct):
            return None
    return frozenset(join.source.alias for join in joins)


def _over_view(
    view: View, block: Block, covered: frozenset[str], conjuncts: Mapping[str, Conjunct]
) -> exp.Select:
    """The block's SELECT with the view in its FROM clause; columns are still those of the tables."""
    select = block.select
    found = exp.Select(
        **{
            name: [one.copy() for one in part] if isinstance(part, list) else _copied(part)
            for name, part in select.args.items()
            if part and name not in ("from_", "joins", "where", "with_")
        }
    )
    found.set("from_", exp.From(this=view.table()))
    joins = []
    items = list(from_items(select))
    nodes = [None, *(select.args.get("joins") or ())]
    for item, node, join in zip(items, nodes, block.joins, strict=True):
        if alias_of(item) in covered:
            continue
        early = join.source in block.inner
        if early or node is None:
            joins.append(exp.Join(this=item.copy(), kind="CROSS"))
        else:
            copy = node.copy()
            if not copy.side and not copy.kind and copy.args.get("on") is None:
                copy.set(
                    "kind", "CROSS"
                )  # a comma binds looser than JOIN, and would hide the view from its ON
            joins.append(copy)
    if joins:
        found.set("joins", joins)
    left = [conjunct.tree for text, conjunct in block.conjuncts.items() if text not in conjuncts]
    if left:
        found.set("where", exp.Where(this=all_of(left)))
    return found


def _copied(part: object) -> object:
    return part.copy() if isinstance(part, exp.Expr) else part


def _match_rows(view: View, rows: Rows, covered: frozenset[str], block: Block) -> exp.Select | None:
    found = _over_view(view, block, covered, rows.conjuncts)
    places = {pair: n for n, pair in enumerate(rows.columns)}
    for column in list(_own_of_block(found, covered)):
        number = places.get((column.table, column.name))
        if number is None:
            return None
        column.replace(view.column(number))
    return found


def _own_of_block(select: exp.Select, covered: frozenset[str]) -> Sequence[exp.Column]:
    """Columns of covered sources in a SELECT that no longer names these sources itself."""
    return [column for part in select.iter_expressions() for column in own_columns(part, covered)]
