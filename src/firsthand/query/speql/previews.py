"""What is shown while a query is typed: the first rows of the SELECT at the cursor, and how far they can be trusted.

"exact" shows rows of the text as it stands, "assumed" rows of a repaired text (and says what was repaired), "sampled"
rows made from a random part of the largest table, where the whole would have taken too long. Sums and counts of a
sample are scaled up and carry 95 % intervals; nothing sampled ever answers a submission.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlglot import exp

from firsthand.query.speql.blocks import Block, Statement
from firsthand.query.speql.config import Config
from firsthand.query.speql.edits import Edit
from firsthand.query.speql.engine import Connection
from firsthand.query.speql.errors import BudgetExceeded
from firsthand.query.speql.predicates import text_of
from firsthand.query.speql.repair import Repair
from firsthand.query.speql.trees import bodies_of, free_aliases, from_items
from firsthand.query.speql.views import measure_of, plain_group, with_ctes

__all__ = [
    "Preview",
    "PreviewQuery",
    "exact_preview",
    "preview_query",
    "query_at",
    "sample_of",
    "sampled_preview",
]

_NORMAL = 1.959963984540054  # the 97.5 % point


@dataclass(frozen=True)
class Preview:
    """Rows to look at.

    Attributes:
        snapshot: number of the snapshot that it is of.
        rows: a `pyarrow.Table`, at most `Config.preview_rows` rows.
        kind: "exact", "assumed" or "sampled".
        more: whether there are more rows than are shown.
        patch: what was repaired, in places of the text as it was typed.
        dropped: what of the text was left out of account, in words.
        sql: the query whose rows they are.
        used: ids of views that were read.
        milliseconds: that it took.
        intervals: of a sampled preview, for each scaled column half the width of its 95 % interval, by row.
        unscaled: columns of a sampled preview that are the sample's own and stand for nothing larger.
    """

    snapshot: int
    rows: Any
    kind: Literal["exact", "assumed", "sampled"]
    more: bool
    patch: tuple[Edit, ...] = ()
    dropped: tuple[str, ...] = ()
    sql: str = ""
    used: tuple[int, ...] = ()
    milliseconds: float = 0.0
    intervals: dict[str, list[float | None]] = field(default_factory=dict)
    unscaled: tuple[str, ...] = ()

    def text(self, most: int = 4000) -> str:
        """The rows as lines of text, cut at `most` characters."""
        names = self.rows.column_names
        rows = [
            ["" if value is None else str(value) for value in row.values()] for row in self.rows.to_pylist()
        ]
        widths = [max(map(len, [name, *(row[n] for row in rows)])) for n, name in enumerate(names)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [names, *rows]
        ]
        whole = "\n".join(lines)
        return whole if len(whole) <= most else whole[: most - 2] + " …"


@dataclass(frozen=True)
class PreviewQuery:
    """The query that a preview runs: its text with a limit, and how it is understood (None where it is not)."""

    sql: str
    statement: Statement | None
    limit: int


def query_at(statement: Statement, repair: Repair, cursor: int) -> exp.Query | None:
    """The innermost query of a repaired statement that holds the cursor and can stand alone.

    `cursor` is in code points of the text as it was typed.
    """
    if statement.tree is None or statement.unknown:
        return None
    place = _in_repaired(repair, cursor)
    best: tuple[int, exp.Query] | None = None
    for query in bodies_of(statement.tree):
        if isinstance(query, exp.SetOperation) and query is not statement.tree:
            continue
        span = _span(query)
        if query is statement.tree or span is None:
            continue
        length = span[1] - span[0]
        if span[0] <= place <= span[1] + 1 and not free_aliases(query) and (best is None or length < best[0]):
            best = (length, query)
    return statement.tree if best is None else best[1]


def _in_repaired(repair: Repair, cursor: int) -> int:
    """Where a place of the typed text is in the repaired statement."""
    moved = cursor - repair.span.start
    for edit in repair.edits:
        if edit.end <= cursor:
            moved += len(edit.new) - (edit.end - edit.start)
        elif edit.start < cursor:
            moved -= cursor - edit.start
    return max(0, min(moved, len(repair.sql)))


def _span(query: exp.Query) -> tuple[int, int] | None:
    """From the first to the last name that a query was written with, in code points of the statement."""
    places = [node.meta for node in query.find_all(exp.Identifier) if node.meta.get("start") is not None]
    if not places:
        return None
    # The word SELECT stands before the first name, a few characters away.
    return min(place["start"] for place in places) - 8, max(place["end"] for place in places)


def preview_query(
    statement: Statement, repair: Repair, at_cursor: exp.Query | None, rows: int
) -> PreviewQuery:
    """The query at the cursor, with what it reads of the statement's CTEs in front and a limit of one row more."""
    limit = rows + 1
    if at_cursor is None:
        inner = repair.sql.strip().rstrip(";")
        return PreviewQuery(f"SELECT * FROM ({inner}\n) AS _q LIMIT {limit}", None, limit)
    whole = at_cursor is statement.tree
    query = at_cursor.copy() if whole else with_ctes(at_cursor.copy(), statement)
    given = query.args.get("limit")
    number = given.expression if isinstance(given, exp.Limit) else None
    small = isinstance(number, exp.Literal) and number.is_int and int(number.name) <= limit
    if given is not None and not small and not (isinstance(number, exp.Literal) and number.is_int):
        query = exp.Select(
            expressions=[exp.Star()],
            from_=exp.From(this=exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier("_q")))),
        )
    if not small:
        query.set("limit", exp.Limit(expression=exp.Literal.number(limit)))
    sql = text_of(query, statement.dialect)
    understood = Statement.read(sql, statement.schema)
    return PreviewQuery(sql, None if understood.unknown else understood, limit)


def exact_preview(
    table: Any,
    repair: Repair,
    snapshot: int,
    query: PreviewQuery,
    used: Sequence[int],
    milliseconds: float,
    rows: int,
) -> Preview:
    """A preview of rows that came of the whole data: exact, or assumed where the text was repaired."""
    kind: Literal["exact", "assumed"] = "exact" if repair.exact else "assumed"
    return Preview(
        snapshot, table.slice(0, rows), kind, table.num_rows > rows, repair.edits, repair.dropped, query.sql,
        tuple(used), milliseconds,
    )  # fmt: skip


# --- samples ----------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """A query over a random part of one table.

    Attributes:
        sql: to run; a column `_half_N` after the query's own holds half the 95 % interval of column N.
        scaled: numbers of the columns that are scaled up.
        width: how many columns are the query's own.
    """

    sql: str
    scaled: tuple[int, ...]
    width: int


def sample_of(statement: Statement, fraction: float, seed: int = 0) -> Sample | None:
    """The statement over a Bernoulli sample of its largest table; None where none can be drawn.

    Every row of the table is kept with probability p = `fraction`. A total T = sum of t_i over the table's rows i is
    estimated by the sample's sum / p, with variance (1 - p) / p^2 times the sample's sum of t_i^2 (Horvitz-Thompson).
    t_i is what one row of the sampled table adds, over all rows that it is joined to. Columns that are SUM or COUNT
    are scaled, others are the sample's own.
    """
    tree = statement.tree
    if (
        statement.unknown
        or not isinstance(tree, exp.Select)
        or statement.dialect not in ("duckdb", "postgres")
    ):
        return None
    block = statement.block(tree)
    place = None if block is None else _largest(statement, tree, block)
    if block is None or place is None:
        return None
    group = plain_group(tree) if block.aggregates else None
    method = {"method": exp.var("BERNOULLI"), "percent": exp.Literal.number(round(100 * fraction, 6))}
    sampled = tree.copy()
    items = list(from_items(sampled))
    items[place].set("sample", exp.TableSample(**method, seed=exp.Literal.number(seed)))
    if not block.aggregates:
        return Sample(text_of(sampled, statement.dialect), (), len(tree.expressions))
    if group is None or any(tree.args.get(name) for name in ("distinct", "having", "qualify", "windows")):
        return None
    row = "ctid" if statement.dialect == "postgres" else "rowid"
    unit = exp.column(row, table=block.joins[place].source.alias, quoted=True)
    return _scaled(statement, sampled, group, unit, fraction)


def _largest(statement: Statement, tree: exp.Select, block: Block) -> int | None:
    """The place in FROM of the largest table, of those that are sampled without making rows up (no outer joins)."""
    sizes = []
    for number, (item, join) in enumerate(zip(from_items(tree), block.joins, strict=True)):
        table = statement.schema.table(join.source.key.removeprefix("table:"))
        if isinstance(item, exp.Table) and join.source.key.startswith("table:") and table is not None:
            sizes.append((table.rows or 0, -number))
    return -max(sizes)[1] if sizes and not block.tail else None


def _scaled(
    statement: Statement, sampled: exp.Select, group: Sequence[exp.Expr], unit: exp.Column, fraction: float
) -> Sample | None:
    """Sums of each sampled row first, then of each group: the squares that intervals need are those of rows."""
    keys = [one.copy() for one in group]
    texts = [text_of(one, statement.dialect) for one in keys]
    inner: list[exp.Expr] = [exp.alias_(key, f"g{n}", quoted=True) for n, key in enumerate(keys)]
    outer: list[exp.Expr] = []
    halves: list[exp.Expr] = []
    scaled: list[int] = []
    for number, output in enumerate(sampled.expressions):
        bare = output.this if isinstance(output, exp.Alias) else output
        text = text_of(bare, statement.dialect)
        name = output.alias_or_name
        if text in texts:
            outer.append(exp.alias_(exp.column(f"g{texts.index(text)}", quoted=True), name, quoted=True))
            continue
        measure = measure_of(bare, statement.dialect)
        if measure.function not in ("sum", "count"):
            return None
        double = exp.Cast(this=bare.copy(), to=exp.DataType.build("DOUBLE"))
        inner.append(exp.alias_(double, f"t{number}", quoted=True))
        total = exp.Sum(this=exp.column(f"t{number}", quoted=True))
        outer.append(
            exp.alias_(exp.Div(this=total, expression=exp.Literal.number(fraction)), name, quoted=True)
        )
        square = exp.Sum(
            this=exp.Mul(
                this=exp.column(f"t{number}", quoted=True), expression=exp.column(f"t{number}", quoted=True)
            )
        )
        factor = _NORMAL * (1 - fraction) ** 0.5 / fraction
        half = exp.Mul(this=exp.Literal.number(factor), expression=exp.Sqrt(this=square))
        halves.append(exp.alias_(half, f"_half_{number}", quoted=True))
        scaled.append(number)
    below = sampled.copy()
    for part in ("order", "limit", "offset", "with_"):
        below.set(part, None)
    below.set("expressions", inner)
    below.set("group", exp.Group(expressions=[*(key.copy() for key in keys), unit]))
    found = exp.Select(
        expressions=[*outer, *halves],
        from_=exp.From(this=exp.Subquery(this=below, alias=exp.TableAlias(this=exp.to_identifier("_s")))),
    )
    if keys:
        found.set(
            "group", exp.Group(expressions=[exp.column(f"g{n}", quoted=True) for n in range(len(keys))])
        )
    for part in ("order", "limit", "offset", "with_"):
        if sampled.args.get(part) is not None:
            found.set(part, sampled.args[part].copy())
    if any(column.table for one in [found.args.get("order")] if one for column in one.find_all(exp.Column)):
        found.set("order", None)
    return Sample(text_of(found, statement.dialect), tuple(scaled), len(outer))


def sampled_preview(
    connection: Connection, query: PreviewQuery, repair: Repair, snapshot: int, config: Config, start: float
) -> Preview:
    """A preview from a sample; `start` is when it was begun, in milliseconds of the steady clock.

    Raises `BudgetExceeded` where no sample can be drawn, `QueryInterrupted` where that too takes longer than it may.
    """
    sample = None if query.statement is None else sample_of(query.statement, config.sample_fraction)
    if sample is None:
        raise BudgetExceeded("it takes too long, and no sample of it can be drawn")
    table = connection.query(sample.sql, timeout_s=config.command_timeout_s)
    names = table.column_names[: sample.width]
    halves = {
        names[number]: table.column(sample.width + place).to_pylist()[: config.preview_rows]
        for place, number in enumerate(sample.scaled)
    }
    unscaled = () if sample.scaled else tuple(names)
    return Preview(
        snapshot, table.select(list(range(sample.width))).slice(0, config.preview_rows), "sampled",
        table.num_rows > config.preview_rows, repair.edits, repair.dropped, sample.sql,
        milliseconds=time.perf_counter() * 1e3 - start, intervals=halves, unscaled=unscaled,
    )  # fmt: skip
