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

from firsthand.query.speql.blocks import Block, Join, Statement, alias_of, from_items, own_columns
from firsthand.query.speql.predicates import Conjunct, canonical, text_of
from firsthand.query.speql.views import (
    ATOMS,
    Answer,
    Groups,
    Measure,
    Rows,
    View,
    body_key,
    measure_of,
    plain_group,
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
    return _match_groups(view, definition, covered, block, statement)


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
    alias = _alias(view)
    return sorted({int(column.name[1:]) for column in select.find_all(exp.Column) if column.table == alias})


def _alias(view: View) -> str:
    return f"_v{view.id}"


def _table(view: View) -> exp.Expr:
    parts = [exp.to_identifier(part) for part in view.name.split(".")]
    names = dict(zip(("this", "db", "catalog"), reversed(parts), strict=False))
    return exp.Table(**names, alias=exp.TableAlias(this=exp.to_identifier(_alias(view), quoted=True)))


def _column(view: View, number: int) -> exp.Column:
    return exp.column(f"c{number}", table=_alias(view), quoted=True)


# --- answers ----------------------------------------------------------------------


def _read_answer(view: View, answer: Answer, query: exp.Query, root: bool) -> exp.Select | None:
    """The answer's rows under the query's names; of the whole statement in its order and as many as it asks for."""
    found = exp.Select(
        expressions=[exp.alias_(_column(view, n), name, quoted=True) for n, name in enumerate(answer.names)],
        from_=exp.From(this=_table(view)),
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
        term.set("this", _column(view, whole))
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
        column.replace(_column(view, number))
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
    found.set("from_", exp.From(this=_table(view)))
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
        found.set("where", exp.Where(this=_all(left)))
    return found


def _copied(part: object) -> object:
    return part.copy() if isinstance(part, exp.Expr) else part


def _all(conditions: Sequence[exp.Expr]) -> exp.Expr:
    found: exp.Expr = exp.Paren(this=conditions[0].copy())
    for condition in conditions[1:]:
        found = exp.And(this=found, expression=exp.Paren(this=condition.copy()))
    return found


def _match_rows(view: View, rows: Rows, covered: frozenset[str], block: Block) -> exp.Select | None:
    found = _over_view(view, block, covered, rows.conjuncts)
    places = {pair: n for n, pair in enumerate(rows.columns)}
    for column in list(_own_of_block(found, covered)):
        number = places.get((column.table, column.name))
        if number is None:
            return None
        column.replace(_column(view, number))
    return found


def _own_of_block(select: exp.Select, covered: frozenset[str]) -> Sequence[exp.Column]:
    """Columns of covered sources in a SELECT that no longer names these sources itself."""
    return [column for part in select.iter_expressions() for column in own_columns(part, covered)]


# --- groups ----------------------------------------------------------------------

# What may stand above groups besides aggregates: everything here gives one value a row, whatever the other rows are.
_SCALAR = (
    exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Alias, exp.Paren, exp.Neg, exp.Add, exp.Sub,
    exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.DPipe, exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam, exp.Case,
    exp.If, exp.Coalesce, exp.Nullif, exp.Abs, exp.Round, exp.Ceil, exp.Floor, exp.Sqrt, exp.Substring, exp.Upper,
    exp.Lower, exp.Trim, exp.Concat, exp.Length, exp.Greatest, exp.Least, exp.Extract, exp.Year, exp.Month, exp.Day,
    exp.Var, exp.Not, exp.And, exp.Or, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.In, exp.Is,
    exp.Like, exp.ILike, exp.Having, exp.Qualify, exp.Order, exp.Ordered, exp.Distinct, exp.Window, exp.WindowSpec,
    exp.RowNumber, exp.Rank, exp.DenseRank, exp.Tuple, exp.DateAdd, exp.DateSub, exp.Interval, exp.TimestampTrunc,
    exp.DateTrunc,
)  # fmt: skip

_EXACT = frozenset(
    {
        "TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT",
        "UHUGEINT", "DECIMAL", "NUMERIC",
    }
)  # fmt: skip


def _match_groups(
    view: View, groups: Groups, covered: frozenset[str], block: Block, statement: Statement
) -> exp.Select | None:
    dialect, select = statement.dialect, block.select
    wanted = plain_group(select) if block.aggregates else None
    if wanted is None or covered != block.aliases:
        return None
    places = {text: n for n, text in enumerate(groups.group)}
    texts = [text_of(canonical(one, dialect), dialect) for one in wanted]
    if any(text not in places for text in texts):
        return None
    left = [conjunct for text, conjunct in block.conjuncts.items() if text not in groups.conjuncts]
    if left and not groups.group:
        return None  # a single row for all, whatever is asked of it
    if not all(_of_equals(conjunct.tree, view, places, dialect) for conjunct in left):
        return None
    finer = set(texts) != set(groups.group)
    mapping = _Groups(view, groups, places, dialect, finer)
    found = exp.Select(from_=exp.From(this=_table(view)))
    conditions = [mapping.of(conjunct.tree, scalar=True) for conjunct in left]
    for name in ("expressions", "having", "qualify", "order", "distinct", "windows"):
        part = select.args.get(name)
        if not part:
            continue
        if isinstance(part, list):
            mapped = [mapping.of(one) for one in part]
            if any(one is None for one in mapped):
                return None
            found.set(name, mapped)
        else:
            one = mapping.of(part)
            if one is None:
                return None
            found.set(name, one)
    if any(condition is None for condition in conditions):
        return None
    if finer and wanted:
        group = [mapping.of(one) for one in wanted]
        if any(one is None for one in group):
            return None
        found.set("group", exp.Group(expressions=group))
    elif not finer and found.args.get("having") is not None:
        conditions.append(found.args["having"].this)
        found.set("having", None)
    if conditions:
        found.set("where", exp.Where(this=_all([one for one in conditions if one is not None])))
    for name in ("limit", "offset"):
        if select.args.get(name) is not None:
            found.set(name, select.args[name].copy())
    return found


# Types of which equal values are the same value: a group's key stands for every row of the group. Not so 0.0 and
# -0.0, a day and 24 hours, a NUMERIC 1.0 and 1.00, texts that a collation takes for the same.
_SAME = _EXACT - {"DECIMAL", "NUMERIC"} | {
    "BOOLEAN",
    "DATE",
    "UUID",
    "VARCHAR",
    "CHARACTER VARYING",
    "TEXT",
    "STRING",
}
_COMPARES = (
    exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.In, exp.Is, exp.Between, exp.And, exp.Or, exp.Not, exp.Paren,
    exp.Column, exp.Identifier, exp.Literal, exp.Neg, exp.Null, exp.Boolean,
)  # fmt: skip


def _of_equals(tree: exp.Expr, view: View, places: Mapping[str, int], dialect: str) -> bool:
    """Whether a condition is true of all rows of a group or of none, its keys being equal in all of them.

    Comparisons are. Whatever else looks at a key may tell equal values of some types apart.
    """
    keys: list[int] = []
    compares = True
    stack = [tree]
    while stack:
        node = stack.pop()
        number = (
            None if isinstance(node, exp.Literal) else places.get(text_of(canonical(node, dialect), dialect))
        )
        if number is not None:
            keys.append(number)
            continue
        compares = compares and isinstance(node, _COMPARES)
        stack += node.iter_expressions()
    return compares or all(_same_if_equal(view.types[number]) for number in keys)


def _same_if_equal(type_: str) -> bool:
    name, bounded, end = type_.upper().partition("(")
    if name in ("DECIMAL", "NUMERIC"):
        return bool(bounded)
    return name in _SAME and (not bounded or end.endswith(")"))


class _Groups:
    """Puts a view's columns into what stands above a block's groups."""

    def __init__(
        self, view: View, groups: Groups, places: Mapping[str, int], dialect: str, finer: bool
    ) -> None:
        self.view, self.groups, self.places, self.dialect, self.finer = view, groups, places, dialect, finer
        self.measures = {measure.text: n + len(groups.group) for n, measure in enumerate(groups.measures)}
        self.parts = {
            (measure.function, measure.argument): n + len(groups.group)
            for n, measure in enumerate(groups.measures)
            if measure.function
        }
        self.expressions = any(not text.startswith('"') for text in places)

    def of(self, tree: exp.Expr, *, scalar: bool = False) -> exp.Expr | None:
        """A copy of a tree over the view's columns; None where something in it is not among them.

        With `scalar` no aggregate may stand in it.
        """
        if isinstance(tree, exp.Query | exp.Star):
            return None
        if isinstance(tree, exp.Column) and not tree.table:
            return tree.copy()  # an output's name in ORDER BY
        if isinstance(tree, exp.Column) or (
            self.expressions and not isinstance(tree, exp.Literal | exp.Alias)
        ):
            number = self.places.get(text_of(canonical(tree, self.dialect), self.dialect))
            if number is not None:
                return _column(self.view, number)
            if isinstance(tree, exp.Column):
                return None
        if isinstance(tree, exp.Window):
            return None if scalar else self.window(tree)
        if isinstance(tree, ATOMS):
            return None if scalar else self.aggregate(tree)
        if not isinstance(tree, _SCALAR):
            return None
        return self.parts_of(tree, scalar)

    def parts_of(self, tree: exp.Expr, scalar: bool) -> exp.Expr | None:
        copy = tree.copy()
        for mine, theirs in zip(list(copy.iter_expressions()), list(tree.iter_expressions()), strict=True):
            found = self.of(theirs, scalar=scalar)
            if found is None:
                return None
            mine.replace(found)
        return copy

    def window(self, tree: exp.Window) -> exp.Expr | None:
        """A window's function runs over the groups, as before; what it is given is computed from them."""
        if self.finer:
            return None  # windows over coarser groups would need these in a query of their own
        copy = tree.copy()
        for name, value in tree.args.items():
            mine = copy.args.get(name)
            pairs = zip(mine or [], value, strict=True) if isinstance(value, list) else [(mine, value)]
            for one, part in pairs:
                if not isinstance(part, exp.Expr) or not isinstance(one, exp.Expr):
                    continue
                if name == "this":
                    if not isinstance(part, exp.AggFunc | exp.RowNumber | exp.Rank | exp.DenseRank):
                        return None
                    for inner, argument in zip(
                        list(one.iter_expressions()), list(part.iter_expressions()), strict=True
                    ):
                        found = argument.copy() if isinstance(argument, exp.Star) else self.of(argument)
                        if found is None:
                            return None
                        inner.replace(found)
                elif name != "alias":
                    found = self.of(part)
                    if found is None:
                        return None
                    one.replace(found)
        return copy

    def aggregate(self, atom: exp.Expr) -> exp.Expr | None:
        """What the view holds of an aggregate: the value itself, or the parts that coarser groups add up."""
        if not self.finer:
            number = self.measures.get(text_of(atom, self.dialect))
            if number is not None:
                return _column(self.view, number)
            return self.average(measure_of(atom, self.dialect))
        measure = measure_of(atom, self.dialect)
        number = self.parts.get((measure.function, measure.argument))
        if measure.function in ("min", "max") and number is not None:
            kind = exp.Min if measure.function == "min" else exp.Max
            return kind(this=_column(self.view, number))
        if measure.function == "sum" and number is not None and self.exact(number):
            return self.cast(exp.Sum(this=_column(self.view, number)), number)
        if measure.function == "count" and number is not None:
            total = exp.Coalesce(
                this=exp.Sum(this=_column(self.view, number)), expressions=[exp.Literal.number(0)]
            )
            return self.cast(total, number)
        return self.average(measure)

    def average(self, measure: Measure) -> exp.Expr | None:
        """AVG as a quotient, where the engine's is one in double precision: DuckDB's of exact numbers."""
        total, count = (self.parts.get((name, measure.argument)) for name in ("sum", "count"))
        if measure.function != "avg" or total is None or count is None or self.dialect != "duckdb":
            return None
        if not self.exact(total):
            return None
        parts: list[exp.Expr] = [_column(self.view, n) for n in (total, count)]
        if self.finer:
            parts = [exp.Sum(this=part) for part in parts]
        double = exp.DataType.build("DOUBLE")
        return exp.Paren(
            this=exp.Div(
                this=exp.Cast(this=parts[0], to=double),
                expression=exp.Nullif(
                    this=exp.Cast(this=parts[1], to=double.copy()), expression=exp.Literal.number(0)
                ),
                typed=False,
                safe=False,
            )
        )

    def exact(self, number: int) -> bool:
        """Whether adding up a column in another order gives the same: whole and decimal numbers."""
        return self.view.types[number].upper().partition("(")[0] in _EXACT

    def cast(self, tree: exp.Expr, number: int) -> exp.Expr:
        """As the type that the aggregate itself has: a sum of counts is wider than a count."""
        return exp.Cast(this=tree, to=exp.DataType.build(self.view.types[number], dialect=self.dialect))
