"""What a speculative table holds: four kinds, each with the query that fills it.

- `Rows`: joined and filtered rows of a block, before anything is made of them.
- `Groups`: a block's groups with what was asked of each, and the parts from which coarser groups can be added up.
- `Answer`: all rows of one query as it stands, its ORDER BY and LIMIT aside.
- `Text`: the same of a query that is not understood, only known to give the same rows each time.

A definition says what the rows mean, whoever guessed it; whether it may answer a query is for `matching` to prove.
Knows trees and blocks. Knows nothing of engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from firsthand.query.speql.blocks import Block, Join, Statement
from firsthand.query.speql.predicates import Conjunct, canonical, text_of
from firsthand.query.speql.trees import free_aliases, own_columns, settled

__all__ = [
    "Answer",
    "Definition",
    "Groups",
    "Measure",
    "Rows",
    "Text",
    "View",
    "answer_of",
    "filling",
    "groups_of",
    "rows_of",
]


@dataclass(frozen=True)
class Rows:
    """Rows of joined sources that pass the conjuncts; `columns` are (alias, name) in the table's order."""

    joins: tuple[Join, ...]
    conjuncts: Mapping[str, Conjunct] = field(hash=False)
    columns: tuple[tuple[str, str], ...]
    query: exp.Query = field(hash=False, compare=False, repr=False)


@dataclass(frozen=True)
class Measure:
    """An aggregate that was asked for: its canonical text, and its function and argument where it is a plain one."""

    text: str
    function: str = ""  # "sum", "count", "min", "max", "avg"; "" for what cannot be added up
    argument: str = ""  # canonical text; "*" for COUNT(*)


@dataclass(frozen=True)
class Groups:
    """One row a group: the group's expressions (canonical texts), then its measures, in the table's order."""

    joins: tuple[Join, ...]
    conjuncts: Mapping[str, Conjunct] = field(hash=False)
    group: tuple[str, ...]
    measures: tuple[Measure, ...]
    query: exp.Query = field(hash=False, compare=False, repr=False)


@dataclass(frozen=True)
class Answer:
    """All rows of one query, under its own column names; `key` is the statement's key of its body."""

    key: str
    names: tuple[str, ...]
    query: exp.Query = field(hash=False, compare=False, repr=False)


@dataclass(frozen=True)
class Text:
    """All rows of a body that is known by its tokens alone; `sql` fills the table, under c0, c1, ..."""

    key: str
    names: tuple[str, ...]
    sql: str = field(compare=False, repr=False)


Definition = Rows | Groups | Answer | Text
_NO_NEW_NAMES = frozenset(
    {"bigquery"}
)  # dialects in which an alias cannot rename columns: FROM (...) AS q(a, b)


@dataclass
class View:
    """A definition that was filled.

    Attributes:
        name: of the table, as SQL writes it.
        types: of its columns c0, c1, ..., in the engine's words.
        rows: how many.
        widths: average bytes of a value of each column.
        made_ms: milliseconds that it took.
        key: of the vertex that it was made for.
    """

    id: int
    definition: Definition
    name: str
    types: tuple[str, ...]
    rows: int
    widths: tuple[float, ...]
    made_ms: float = 0.0
    key: str = ""

    @property
    def alias(self) -> str:
        """The name by which rewritten queries know it."""
        return f"_v{self.id}"

    def table(self) -> exp.Table:
        """It as an item of a FROM clause."""
        parts = [exp.to_identifier(part) for part in self.name.split(".")]
        names = dict(zip(("this", "db", "catalog"), reversed(parts), strict=False))
        return exp.Table(**names, alias=exp.TableAlias(this=exp.to_identifier(self.alias, quoted=True)))

    def column(self, number: int) -> exp.Column:
        """One of its columns, as rewritten queries name it."""
        return exp.column(f"c{number}", table=self.alias, quoted=True)

    @property
    def bytes(self) -> float:
        """Size of the whole table."""
        return self.rows * sum(self.widths)


def filling(definition: Definition, dialect: str) -> str:
    """The query that fills a table of this definition."""
    return definition.sql if isinstance(definition, Text) else text_of(definition.query, dialect)


# --- definitions of a query's parts ----------------------------------------------------------------------


def _core(block: Block, statement: Statement) -> exp.Select:
    """The block's FROM and WHERE with nothing above them, the CTEs that it reads in front."""
    kept = {name: block.select.args.get(name) for name in ("from_", "joins", "where")}
    core = exp.Select(
        **{
            name: [one.copy() for one in part] if isinstance(part, list) else part.copy()
            for name, part in kept.items()
            if part
        }
    )
    return core


def with_ctes(query: exp.Query, statement: Statement) -> exp.Query:
    """The query (changed in place) with those CTEs of the statement in front that it reads, in order."""
    needed: set[str] = set()
    stack: list[exp.Expr] = [query]
    while stack:
        for table in stack.pop().find_all(exp.Table):
            if not table.db and table.name in statement.ctes and table.name not in needed:
                needed.add(table.name)
                stack.append(statement.ctes[table.name])
    inside = {cte.alias for cte in query.find_all(exp.CTE)}
    ctes = [
        cte.parent.copy() if isinstance(cte.parent, exp.CTE) else None
        for name, cte in statement.ctes.items()
        if name in needed - inside
    ]
    if any(ctes):
        query.set("with_", exp.With(expressions=[cte for cte in ctes if cte is not None]))
    return query


def rows_of(statement: Statement, block: Block, extra: Iterable[tuple[str, str]] = ()) -> Rows | None:
    """The rows below a block: every column that the block uses, and those of `extra` ((alias, name) pairs).

    None where the block uses no column at all.
    """
    used = {(c.table, c.name): None for c in _columns_used(block)}
    names = sorted({**used, **{pair: None for pair in extra if pair[0] in block.aliases}})
    if not names:
        return None
    core = _core(block, statement)
    core.set(
        "expressions",
        [_named(exp.column(name, table=alias, quoted=True), n) for n, (alias, name) in enumerate(names)],
    )
    return Rows(block.joins, dict(block.conjuncts), tuple(names), with_ctes(core, statement))


def _columns_used(block: Block) -> Iterable[exp.Column]:
    """Columns of the block's sources that anything in it names, also from inside its subqueries."""
    for name, part in block.select.args.items():
        if name == "with_":
            continue
        for one in part if isinstance(part, list) else [part]:
            if isinstance(one, exp.Join):
                if one.args.get("on") is not None:
                    yield from own_columns(one.args["on"], block.aliases)
            elif isinstance(one, exp.Expr) and not isinstance(one, exp.From):
                yield from own_columns(one, block.aliases)


def groups_of(statement: Statement, block: Block, extra: Iterable[tuple[str, str]] = ()) -> Groups | None:
    """The groups of a block, with `extra` columns as further groups; None where it groups in no plain way."""
    select = block.select
    group = plain_group(select) if block.aggregates else None
    if group is None:
        return None
    dialect = statement.dialect
    texts = {text_of(canonical(one, dialect), dialect): one for one in group}
    for alias, name in sorted(extra):
        column = exp.column(name, table=alias, quoted=True)
        if alias in block.aliases and texts:
            texts.setdefault(text_of(column, dialect), column)
    atoms: dict[str, exp.Expr] = {}
    for part in above_groups(select):
        for atom in atoms_of(part):
            if atom.find(exp.Query) is not None:
                return None
            text = text_of(atom, dialect)
            atoms[text] = atom
            measure = measure_of(atom, dialect)
            if measure.function == "avg":  # the parts that averages of coarser groups are made of
                for whole in (exp.Sum(this=atom.this.copy()), exp.Count(this=atom.this.copy())):
                    atoms.setdefault(text_of(whole, dialect), whole)
    star = exp.Count(this=exp.Star())
    atoms.setdefault(text_of(star, dialect), star)
    measures = tuple(measure_of(atom, dialect) for atom in atoms.values())
    if any(one.find(exp.Query) is not None for one in texts.values()):
        return None
    core = _core(block, statement)
    outputs = [one.copy() for one in (*texts.values(), *atoms.values())]
    core.set("expressions", [_named(one, n) for n, one in enumerate(outputs)])
    if texts:
        core.set("group", exp.Group(expressions=[one.copy() for one in texts.values()]))
    return Groups(block.joins, dict(block.conjuncts), tuple(texts), measures, with_ctes(core, statement))


def plain_group(select: exp.Select) -> list[exp.Expr] | None:
    """Expressions of GROUP BY; empty without one; None for ROLLUP, CUBE, GROUPING SETS and ALL."""
    group = select.args.get("group")
    if group is None:
        return []
    if any(value for name, value in group.args.items() if name != "expressions"):
        return None
    found = list(group.expressions)
    return None if any(isinstance(one, exp.Rollup | exp.Cube | exp.GroupingSets) for one in found) else found


def above_groups(select: exp.Select) -> list[exp.Expr]:
    """Parts of a SELECT that are computed from its groups."""
    parts = [*select.expressions]
    for name in ("having", "qualify", "order", "distinct"):
        if isinstance(part := select.args.get(name), exp.Expr):
            parts.append(part)
    return [*parts, *(select.args.get("windows") or ())]


def atoms_of(tree: exp.Expr) -> Iterable[exp.Expr]:
    """Aggregates of a SELECT's own under a tree, from the outside: not those of windows and of subqueries."""
    if isinstance(tree, exp.Query):
        return
    if isinstance(tree, exp.Window):
        inner = tree.this
        while isinstance(inner, exp.Filter | exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup):
            inner = inner.this
        for part in inner.iter_expressions():
            yield from atoms_of(part)
        for name, value in tree.args.items():
            for part in value if isinstance(value, list) else [value]:
                if name != "this" and isinstance(part, exp.Expr):
                    yield from atoms_of(part)
        return
    if isinstance(tree, ATOMS):
        yield tree
        return
    for part in tree.iter_expressions():
        yield from atoms_of(part)


ATOMS = (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls, exp.AggFunc)
_PLAIN: Mapping[type[exp.Expr], str] = {
    exp.Sum: "sum",
    exp.Count: "count",
    exp.Min: "min",
    exp.Max: "max",
    exp.Avg: "avg",
}


def measure_of(atom: exp.Expr, dialect: str) -> Measure:
    """An aggregate as a measure."""
    text = text_of(atom, dialect)
    function = _PLAIN.get(type(atom), "")
    argument = atom.this
    if function and not isinstance(argument, exp.Distinct) and not atom.expressions:
        plain = all(name in ("this", "big_int") or not value for name, value in atom.args.items())
        if plain and argument is not None and argument.find(exp.Order, exp.AggFunc) is None:
            return Measure(
                text, function, "*" if isinstance(argument, exp.Star) else text_of(argument, dialect)
            )
    return Measure(text)


def answer_of(statement: Statement, query: exp.Query) -> Answer | None:
    """All rows of a query; None where LIMIT may cut among equals, or names of outputs are not known.

    Of the whole statement ORDER BY, LIMIT and OFFSET are left out. Of a part they stay: what stands around it may
    lean on the order.
    """
    body = body_of(statement, query)
    if body is None or not body.named_selects or "*" in body.named_selects or free_aliases(body):
        return None
    names = tuple(body.named_selects)
    alias = exp.TableAlias(this=exp.to_identifier("_q", quoted=True))
    inside: Sequence[str] = names
    if statement.dialect not in _NO_NEW_NAMES:
        inside = [f"c{n}" for n in range(len(names))]
        alias.set("columns", [exp.to_identifier(name, quoted=True) for name in inside])
    elif len({name.lower() for name in names}) < len(names):
        return None
    inner = exp.Subquery(this=with_ctes(body.copy(), statement), alias=alias)
    outputs = [_named(exp.column(name, table="_q", quoted=True), n) for n, name in enumerate(inside)]
    filling = exp.Select(expressions=outputs, from_=exp.From(this=inner))
    return Answer(statement.key(body), names, filling)


def body_of(statement: Statement, query: exp.Query) -> exp.Query | None:
    """A copy of the part of a query that an `Answer` holds the rows of; None where there is none.

    A SELECT DISTINCT ON keeps its ORDER BY, which says what it keeps.
    """
    if not settled(query) and not (query is statement.tree and _chosen_by_limit(query)):
        return None
    body = query.copy()
    body.set("with_", None)
    for name in _above(statement, query):
        body.set(name, None)
    return body if settled(body) else None


def body_key(statement: Statement, query: exp.Query) -> str | None:
    """The key of `body_of`, without a copy being made of what needs none."""
    if query is not statement.tree and query.args.get("with_") is None:
        return statement.key(query) if settled(query) else None
    body = body_of(statement, query)
    return None if body is None else statement.key(body)


def _above(statement: Statement, query: exp.Query) -> tuple[str, ...]:
    """Parts of a query that are left out of its answer: of the whole statement alone, and not of DISTINCT ON."""
    distinct = query.args.get("distinct")
    chosen = isinstance(distinct, exp.Distinct) and distinct.args.get("on") is not None
    return ("order", "limit", "offset") if query is statement.tree and not chosen else ()


def _chosen_by_limit(query: exp.Query) -> bool:
    return query.args.get("limit") is not None or query.args.get("offset") is not None


def _named(tree: exp.Expr, number: int) -> exp.Alias:
    return exp.Alias(this=tree, alias=exp.to_identifier(f"c{number}", quoted=True))
