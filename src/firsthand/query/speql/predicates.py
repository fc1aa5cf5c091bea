"""Conditions: one way to write each, and which of them follow from which.

Works on sqlglot trees whose columns are qualified by `qualify`. Knows three-valued logic and the order of numbers and
dates. Knows nothing of tables, views or engines.

A conjunct is one arm of a WHERE clause's AND. `Premises(given).imply(p)` answers "is every row that passes all of these
a row that passes p?", and answers no wherever it is not sure: a wrong no costs a match, a wrong yes a wrong answer.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from sqlglot import exp

__all__ = ["Conjunct", "Premises", "all_of", "arms_of", "canonical", "conjuncts_of", "text_of"]

ColumnKind = Callable[[exp.Column], str | None]
"""How a column compares with constants: as an exact "number", a "float", a "date", a "text", or unknown (None)."""


def text_of(tree: exp.Expr, dialect: str) -> str:
    """The tree as one line of SQL: equal texts are equal trees."""
    return tree.sql(dialect=dialect, comments=False)


# --- one way to write a condition ----------------------------------------------------------------------

_MIRRORED: Mapping[type[exp.Expr], type[exp.Binary]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
}
# Not those of < and >: of a NaN, engines that follow IEEE say that neither x < 5 nor x >= 5.
_OPPOSITE: Mapping[type[exp.Expr], type[exp.Binary]] = {exp.EQ: exp.NEQ, exp.NEQ: exp.EQ}


def canonical(tree: exp.Expr, dialect: str) -> exp.Expr:
    """A copy in which what means the same by the laws of logic is written the same.

    Parentheses go, double negations go, NOT of an equality becomes its opposite (both are unknown for NULL), the two
    sides of = and <> and the arms of AND and OR are sorted, a comparison has its constant on the right, BETWEEN
    becomes two comparisons, lists of IN are sorted and hold nothing twice. Only what stands at the level of logic is
    touched: the arithmetic inside a comparison stays as it is written.
    """
    while isinstance(tree, exp.Paren):
        tree = tree.this
    if isinstance(tree, exp.Not):
        inner = tree.this
        while isinstance(inner, exp.Paren):
            inner = inner.this
        if isinstance(inner, exp.Not):
            return canonical(inner.this, dialect)
        if type(inner) in _OPPOSITE and not _quantified(inner):
            return canonical(_OPPOSITE[type(inner)](this=inner.this, expression=inner.expression), dialect)
        return exp.Not(this=_wrapped(canonical(inner, dialect)))
    if isinstance(tree, exp.And | exp.Or):
        kind = type(tree)
        arms = {
            text_of(arm, dialect): arm
            for arm in (canonical(one, dialect) for one in _flat(tree, kind))
            for arm in (_flat(arm, kind) if isinstance(arm, kind) else (arm,))
        }
        ordered = [_wrapped(arms[text]) for text in sorted(arms)]
        found = ordered[0]
        for arm in ordered[1:]:
            found = kind(this=found, expression=arm)
        return found if len(ordered) > 1 else _unwrapped(found)
    if isinstance(tree, exp.Between) and not tree.args.get("symmetric"):
        low = exp.GTE(this=tree.this, expression=tree.args["low"])
        high = exp.LTE(this=tree.this, expression=tree.args["high"])
        return canonical(exp.And(this=low, expression=high), dialect)
    if type(tree) in (*_MIRRORED, exp.EQ, exp.NEQ) and not _quantified(tree):
        left, right = _unwrapped(tree.this).copy(), _unwrapped(tree.expression).copy()
        symmetric = isinstance(tree, exp.EQ | exp.NEQ)
        order = (_constant(left), text_of(left, dialect)), (_constant(right), text_of(right, dialect))
        if order[0] > order[1]:
            left, right = right, left
            return (type(tree) if symmetric else _MIRRORED[type(tree)])(this=left, expression=right)
        return type(tree)(this=left, expression=right)
    if isinstance(tree, exp.In) and tree.expressions and not tree.args.get("query"):
        items = {text_of(item, dialect): item for item in tree.expressions}
        return exp.In(
            this=_unwrapped(tree.this).copy(), expressions=[items[text].copy() for text in sorted(items)]
        )
    return tree.copy()


def _flat(tree: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """Arms of nested ANDs (or ORs), from left to right."""
    stack = [tree]
    while stack:
        one = stack.pop()
        if isinstance(one, exp.Paren) and isinstance(_unwrapped(one), kind):
            one = _unwrapped(one)
        if isinstance(one, kind):
            stack += [one.expression, one.this]
        else:
            yield one


def all_of(conditions: Sequence[exp.Expr]) -> exp.Expr:
    """Conditions joined by AND, each in parentheses; at least one."""
    found: exp.Expr = exp.Paren(this=conditions[0].copy())
    for condition in conditions[1:]:
        found = exp.And(this=found, expression=exp.Paren(this=condition.copy()))
    return found


def arms_of(choice: exp.Or) -> list[exp.Expr]:
    """Arms of an OR, those of ORs inside it too."""
    return list(_flat(choice, exp.Or))


def _unwrapped(tree: exp.Expr) -> exp.Expr:
    while isinstance(tree, exp.Paren):
        tree = tree.this
    return tree


def _wrapped(tree: exp.Expr) -> exp.Expr:
    """With parentheses where the tree binds looser than AND and NOT do."""
    return exp.Paren(this=tree) if isinstance(tree, exp.And | exp.Or | exp.Not | exp.Binary) else tree


def _constant(tree: exp.Expr) -> bool:
    return not any(isinstance(node, exp.Column | exp.Query | exp.AggFunc) for node in tree.walk())


def _quantified(tree: exp.Expr) -> bool:
    """Whether a comparison is with ANY or ALL of something: its opposite is not the opposite sign's."""
    return any(isinstance(side, exp.Any | exp.All) for side in (tree.this, tree.args.get("expression")))


# --- conjuncts ----------------------------------------------------------------------


@dataclass(frozen=True)
class Conjunct:
    """One arm of a WHERE clause's AND, in canonical form; equal where its text is."""

    text: str
    tree: exp.Expr = field(compare=False, repr=False)

    @cached_property
    def columns(self) -> frozenset[tuple[str, str]]:
        """Alias and name of every column in it, also of those inside its subqueries."""
        return frozenset((column.table, column.name) for column in self.tree.find_all(exp.Column))

    @cached_property
    def aliases(self) -> frozenset[str]:
        """Aliases that its columns belong to."""
        return frozenset(alias for alias, _ in self.columns)

    @cached_property
    def has_query(self) -> bool:
        """Whether a subquery stands in it."""
        return self.tree.find(exp.Query) is not None


def conjuncts_of(condition: exp.Expr | None, dialect: str) -> dict[str, Conjunct]:
    """The conjuncts of a condition by their text; none of None."""
    if condition is None:
        return {}
    whole = canonical(condition, dialect)
    found = {}
    for arm in _flat(whole, exp.And):
        tree = _unwrapped(arm)
        text = text_of(tree, dialect)
        found[text] = Conjunct(text, tree)
    return found


class Premises:
    """Conjuncts that are all true of some rows, ready to be asked what follows from them.

    Args:
        given: the conjuncts.
        kind_of: how columns compare with constants.
    """

    def __init__(self, given: Iterable[Conjunct], kind_of: ColumnKind, dialect: str) -> None:
        self._kind_of, self._dialect = kind_of, dialect
        self._texts: set[str] = set()
        self._limits: dict[tuple[str, str], list[_Limit]] = {}
        self._choices: list[list[Premises]] = []
        for conjunct in given:
            self._texts.add(conjunct.text)
            if isinstance(conjunct.tree, exp.Or):
                if not conjunct.has_query:
                    self._choices.append(
                        [
                            Premises(conjuncts_of(arm, dialect).values(), kind_of, dialect)
                            for arm in _flat(conjunct.tree, exp.Or)
                        ]
                    )
            elif (limit := _limit(conjunct.tree, kind_of)) is not None:
                self._limits.setdefault(limit.column, []).append(limit)

    def imply(self, wanted: Conjunct) -> bool:
        """Whether `wanted` is true of every row of which all of them are true; no wherever that is not certain."""
        if wanted.text in self._texts:
            return True
        if wanted.has_query:
            return False
        limit = _limit(wanted.tree, self._kind_of)
        if limit is not None and any(one.within(limit) for one in self._limits.get(limit.column, ())):
            return True
        if any(all(arm.imply(wanted) for arm in arms) for arms in self._choices):
            return True
        return isinstance(wanted.tree, exp.Or) and any(
            all(self.imply(part) for part in conjuncts_of(arm, self._dialect).values())
            for arm in _flat(wanted.tree, exp.Or)
        )


# --- ranges and lists of one column ----------------------------------------------------------------------

Value = Decimal | datetime.date | str


@dataclass(frozen=True)
class _Limit:
    """What a conjunct says of one column: one of `among`, or beyond `bound` on one side, or not `bound`."""

    column: tuple[str, str]
    sign: str  # "in", "not", "<", "<=", ">", ">=", "known"
    among: frozenset[Value] = frozenset()
    bound: Value | None = None

    def within(self, other: _Limit) -> bool:
        """Whether every value that this allows is one that `other` allows."""
        if other.sign == "known":
            return True  # every comparison is false or unknown of NULL
        if self.sign == "in":
            return all(other.allows(value) for value in self.among)
        if self.sign in ("<", "<=") and other.sign in ("<", "<="):
            return self.bound < other.bound or (  # type: ignore[operator]
                self.bound == other.bound and (other.sign == "<=" or self.sign == "<")
            )
        if self.sign in (">", ">=") and other.sign in (">", ">="):
            return self.bound > other.bound or (  # type: ignore[operator]
                self.bound == other.bound and (other.sign == ">=" or self.sign == ">")
            )
        if other.sign == "not" and self.sign not in ("not", "known"):
            return not self.allows(other.bound)
        return False

    def allows(self, value: Value | None) -> bool:
        """Whether a value passes; values of another kind than the limit's do not, to be on the safe side."""
        if value is None:
            return False
        if self.sign == "in":
            return value in self.among
        bound = self.bound
        if type(bound) is not type(value):
            return False
        if self.sign == "not":
            return value != bound
        if value == bound:
            return self.sign in ("<=", ">=")
        return (value < bound) == (self.sign in ("<", "<="))  # type: ignore[operator]


_SIGNS: Mapping[type[exp.Expr], str] = {
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NEQ: "not",
}


def _limit(tree: exp.Expr, kind_of: ColumnKind) -> _Limit | None:
    column = tree.this
    if isinstance(tree, exp.Not) and isinstance(_unwrapped(tree.this), exp.Is):
        test = _unwrapped(tree.this)
        if isinstance(test.this, exp.Column) and isinstance(test.expression, exp.Null):
            return _Limit((test.this.table, test.this.name), "known")
        return None
    if not isinstance(column, exp.Column):
        return None
    place, kind = (column.table, column.name), kind_of(column)
    if isinstance(tree, exp.In) and tree.expressions:
        values = [_value(item, kind) for item in tree.expressions]
        return None if None in values else _Limit(place, "in", frozenset(v for v in values if v is not None))
    if isinstance(tree, exp.EQ):
        value = _value(tree.expression, kind)
        return None if value is None else _Limit(place, "in", frozenset({value}))
    if type(tree) in _SIGNS:
        value = _value(tree.expression, kind)
        if value is None or isinstance(value, str):
            return None  # collations, which we do not know, order texts and say which are the same
        return _Limit(place, _SIGNS[type(tree)], bound=value)
    return None


_FLOAT_EXACT = 2**24  # whole numbers up to here are the same in single precision, in double, and written out
_PLAIN = re.compile(r"\d{1,18}|\d{0,12}\.\d{1,6}")  # what no engine reads as a floating-point number


def _value(tree: exp.Expr, kind: str | None) -> Value | None:
    """A constant's value, as a column of that kind compares it; None where that is not certain."""
    tree = _unwrapped(tree)
    if kind in ("number", "float"):
        number = _number(tree)
        if kind == "number" or number is None:
            return number
        return number if number == number.to_integral() and abs(number) <= _FLOAT_EXACT else None
    if kind == "date":
        if isinstance(tree, exp.Cast) and tree.to.this == exp.DataType.Type.DATE:
            tree = _unwrapped(tree.this)
        if isinstance(tree, exp.Literal) and tree.is_string and re.fullmatch(r"\d{4}-\d\d-\d\d", tree.name):
            try:
                return datetime.date.fromisoformat(str(tree.name))
            except ValueError:
                return None
        return None
    if kind == "text":
        return tree.name if isinstance(tree, exp.Literal) and tree.is_string else None
    return None


def _number(tree: exp.Expr) -> Decimal | None:
    tree = _unwrapped(tree)
    if isinstance(tree, exp.Literal) and not tree.is_string and _PLAIN.fullmatch(tree.name):
        return Decimal(tree.name)
    if isinstance(tree, exp.Neg):
        inner = _number(tree.this)
        return None if inner is None else -inner
    if isinstance(tree, exp.Add | exp.Sub | exp.Mul):
        left, right = _number(tree.this), _number(tree.expression)
        if left is None or right is None or left != left.to_integral() or right != right.to_integral():
            return None  # only whole numbers: engines round fractions each in their own way
        if isinstance(tree, exp.Mul):
            return left * right
        return left + right if isinstance(tree, exp.Add) else left - right
    return None
