"""Views of groups in the place of a block: what stands above its groups, computed from the view's columns.

A view serves where its groups are as fine as the block's. Where they are finer, exact sums, counts and extremes are
added up; nothing else is. Whatever may stand above groups is listed here; what is not listed is not trusted.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from firsthand.query.speql.blocks import Block, Statement
from firsthand.query.speql.predicates import all_of, canonical, text_of
from firsthand.query.speql.schema import EXACT_NUMBERS
from firsthand.query.speql.views import ATOMS, Groups, Measure, View, measure_of, plain_group

__all__ = ["match_groups"]

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


def match_groups(
    view: View, groups: Groups, covered: frozenset[str], block: Block, statement: Statement
) -> exp.Select | None:
    """The block's SELECT over a view of groups, which may stand for the `covered` aliases; None where it may not."""
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
    found = exp.Select(from_=exp.From(this=view.table()))
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
        found.set("where", exp.Where(this=all_of([one for one in conditions if one is not None])))
    for name in ("limit", "offset"):
        if select.args.get(name) is not None:
            found.set(name, select.args[name].copy())
    return found


# Types of which equal values are the same value: a group's key stands for every row of the group. Not so 0.0 and
# -0.0, a day and 24 hours, a NUMERIC 1.0 and 1.00, texts that a collation takes for the same.
_SAME = EXACT_NUMBERS - {"DECIMAL", "NUMERIC"} | {
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
                return self.view.column(number)
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
                return self.view.column(number)
            return self.average(measure_of(atom, self.dialect))
        measure = measure_of(atom, self.dialect)
        number = self.parts.get((measure.function, measure.argument))
        if measure.function in ("min", "max") and number is not None:
            kind = exp.Min if measure.function == "min" else exp.Max
            return kind(this=self.view.column(number))
        if measure.function == "sum" and number is not None and self.exact(number):
            return self.cast(exp.Sum(this=self.view.column(number)), number)
        if measure.function == "count" and number is not None:
            total = exp.Coalesce(
                this=exp.Sum(this=self.view.column(number)), expressions=[exp.Literal.number(0)]
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
        parts: list[exp.Expr] = [self.view.column(n) for n in (total, count)]
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
        return self.view.types[number].upper().partition("(")[0] in EXACT_NUMBERS

    def cast(self, tree: exp.Expr, number: int) -> exp.Expr:
        """As the type that the aggregate itself has: a sum of counts is wider than a count."""
        return exp.Cast(this=tree, to=exp.DataType.build(self.view.types[number], dialect=self.dialect))
