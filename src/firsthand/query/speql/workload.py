"""TPC-DS and TPC-H for this room: files of any scale factor, their queries, and the same queries with other constants.

The tables come from DuckDB's own generators, which two packages carry (`duckdb-extension-tpcds`, `-tpch`), for DuckDB
1.5.5 alone. Files lie in the library's cache, made once.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from firsthand.errors import InputError, MissingDependencyError
from firsthand.launch.cache import cache_folder, locked
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.trees import alias_of, from_items

__all__ = [
    "reflowed",
    "sales_file",
    "sales_queries",
    "tpcds_file",
    "tpcds_queries",
    "tpch_file",
    "tpch_queries",
    "with_literals",
]

_GENERATORS = {"tpcds": "dsdgen", "tpch": "dbgen"}


def tpcds_file(scale_factor: float = 1.0) -> Path:
    """A DuckDB file with TPC-DS's 24 tables; scale factor 1 is 331 MB and takes half a minute once.

    Raises `MissingDependencyError` without the generator, `InputError` for a scale factor that is not positive.
    """
    return _file("tpcds", scale_factor)


def tpch_file(scale_factor: float = 1.0) -> Path:
    """A DuckDB file with TPC-H's 8 tables; see `tpcds_file`."""
    return _file("tpch", scale_factor)


@functools.cache
def tpcds_queries() -> Mapping[int, str]:
    """TPC-DS's 99 queries by number, with the constants that DuckDB gives them."""
    return _queries("tpcds")


@functools.cache
def tpch_queries() -> Mapping[int, str]:
    """TPC-H's 22 queries by number."""
    return _queries("tpch")


def sales_file(rows: int = 1_000_000) -> Path:
    """A DuckDB file with a table of sales, the same each time: for trials that need nothing but DuckDB.

    Raises `InputError` for less than one row.
    """
    if rows < 1:
        raise InputError(f"{rows} rows are none; give 1 or more")
    path = cache_folder("speql") / f"sales-{rows}.duckdb"
    with locked(path):
        if not path.is_file():
            import duckdb

            beside = path.with_name(f".{path.name}.part")
            beside.unlink(missing_ok=True)
            with duckdb.connect(str(beside)) as connection:
                connection.execute(
                    "CREATE TABLE sales AS SELECT 'item ' || (hash(i) % 500)::VARCHAR AS item, "
                    "(hash(i + 1) % 20)::INTEGER AS region, (hash(i + 2) % 100)::INTEGER AS price, "
                    "(hash(i + 3) % 50)::INTEGER AS quantity, DATE '2024-01-01' + (hash(i + 4) % 365)::INTEGER AS day "
                    f"FROM range({rows}) AS numbers(i)"
                )
            beside.replace(path)
    return path


@functools.cache
def sales_queries() -> Mapping[str, str]:
    """Three queries on the table of sales: conditions one after another, groups, a query by steps."""
    return {
        "filter": "SELECT item, price, quantity, day FROM sales WHERE price > 90 AND quantity > 40 AND region = 7",
        "groups": "SELECT region, SUM(price) AS total, COUNT(*) AS n FROM sales WHERE quantity > 10 GROUP BY region "
        "ORDER BY total DESC LIMIT 5",
        "steps": "WITH daily AS (SELECT day, SUM(price * quantity) AS turnover FROM sales WHERE region IN (3, 4) "
        "GROUP BY day) SELECT MAX(turnover) AS best, AVG(turnover) AS mean FROM daily WHERE turnover > 1000",
    }


def _generator(name: str) -> Any:
    """A connection to a database in memory that has the generator."""
    try:
        import duckdb

        package = import_module(f"duckdb_extension_{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").replace("_", "-")
        raise MissingDependencyError(f"{missing} is not installed; run: pip install {missing}") from error
    version = f"v{duckdb.__version__}"
    places = [Path(place) / "extensions" / version / f"{name}.duckdb_extension" for place in package.__path__]
    there = next((place for place in places if place.is_file()), None)
    if there is None:
        raise MissingDependencyError(
            f"duckdb-extension-{name} has no generator for DuckDB {version}; run: pip install duckdb==1.5.5"
        )
    connection = duckdb.connect()
    connection.execute(f"LOAD '{str(there).replace(chr(39), chr(39) * 2)}'")
    return connection


def _file(name: Literal["tpcds", "tpch"], scale_factor: float) -> Path:
    if not scale_factor > 0:
        raise InputError(f"the scale factor is {scale_factor:g}; it must be above 0")
    path = cache_folder("speql") / f"{name}-sf{scale_factor:g}.duckdb"
    with locked(path):
        if not path.is_file():
            beside = path.with_name(f".{path.name}.part")
            beside.unlink(missing_ok=True)
            with _generator(name) as connection:
                connection.execute(f"ATTACH '{str(beside).replace(chr(39), chr(39) * 2)}' AS made")
                connection.execute("USE made")
                connection.execute(f"CALL {_GENERATORS[name]}(sf = {scale_factor!r})")
                connection.execute("USE memory")
                connection.execute("DETACH made")
            beside.replace(path)
    return path


def _queries(name: Literal["tpcds", "tpch"]) -> dict[int, str]:
    with _generator(name) as connection:
        rows = connection.execute(f"SELECT query_nr, query FROM {name}_queries() ORDER BY 1").fetchall()
    return {number: query.strip().rstrip(";").rstrip() for number, query in rows}


def reflowed(sql: str, dialect: str = "duckdb") -> str:
    """The query with a line for each clause, output and condition, as it would be typed; itself if it is not read."""
    try:
        return sqlglot.parse_one(sql, read=dialect).sql(dialect=dialect, pretty=True)
    except SqlglotError:
        return sql


# --- other constants ----------------------------------------------------------------------

# TPC-DS's calendar has two centuries, and five years of sales: other days would select nothing.
_WITHIN = {"date_dim": "d_year BETWEEN 1998 AND 2002"}
_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)


@dataclass(frozen=True)
class _Place:
    """Constants that one condition compares with one column: marks of their literals, in the order of the text."""

    table: str
    column: str
    marks: tuple[int, ...]
    way: Literal["each", "range", "list"]


def with_literals(sql: str, seed: int, path: str | Path, *, which: Literal["all", "last"] = "all") -> str:
    """The query with other constants: those that are compared with a column are drawn from the column's own values.

    Numbers and days of one column all move as far, so that ranges keep their width and one year follows the other; a
    text that stands twice is the same again; lists (IN) keep their length, as far as the column has so many values.
    LIMIT, arithmetic and the rest stay.

    Args:
        sql: of DuckDB.
        seed: the same seed and file give the same text.
        path: a DuckDB file with the query's tables.
        which: "last" draws anew only for the condition that is typed last among those it could draw for.

    Returns the query as `reflowed` writes it; the given text where nothing in it is read or can be drawn.
    """
    try:
        raw = sqlglot.parse_one(sql, read="duckdb")
        literals = list(raw.find_all(exp.Literal))
        for mark, literal in enumerate(literals):
            literal.meta["mark"] = mark
        source = _source(path)
        schema = _schema(*source)
        tree = qualify(raw.copy(), schema=schema.sqlglot, dialect="duckdb", validate_qualify_columns=False)
        places = list(_places(tree, schema))
        drawn = _drawn(places, literals, seed, source)
    except SqlglotError:
        return sql
    if which == "last" and drawn:
        chosen = _last(raw, places, drawn)
        drawn = {mark: value for mark, value in drawn.items() if mark in chosen}
    for mark, value in drawn.items():
        literals[mark].replace(_literal(value))
    return raw.sql(dialect="duckdb", pretty=True) if drawn else sql


def _last(raw: exp.Expr, places: Sequence[_Place], drawn: Mapping[int, Any]) -> frozenset[int]:
    """Marks of the constants in the condition that stands last in the text among those that were drawn for."""
    marked = raw.copy()
    for literal in list(marked.find_all(exp.Literal)):
        literal.replace(exp.Literal.string(f"\x01{literal.meta['mark']}\x02"))
    text = marked.sql(dialect="duckdb", pretty=True)
    mark = max(drawn, key=lambda mark: text.find(f"\x01{mark}\x02"))
    return next(frozenset(place.marks) for place in places if mark in place.marks)


def _reader(path: str | Path) -> Any:
    import duckdb

    try:
        return duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise InputError(f"{path} cannot be opened: {error}") from error


_Source = tuple[str, int]  # a file, and when it was written: what is read of it is kept as long as it stays


def _source(path: str | Path) -> _Source:
    try:
        return str(path), Path(path).stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error}") from error


@functools.lru_cache(maxsize=16)
def _schema(path: str, _written: int) -> Schema:
    found: dict[str, dict[str, str]] = {}
    with _reader(path) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal "
            "ORDER BY 1, column_index"
        ).fetchall()
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    return Schema.of(found)


def _places(tree: exp.Expr, schema: Schema) -> Iterator[_Place]:
    """Where columns of tables are compared with constants, in the order of the text."""
    for node in tree.walk():
        if not isinstance(node, (*_COMPARISONS, exp.Between, exp.In)):
            continue
        column, constants, way = _sides(node)
        table = None if column is None else _table_of(column, schema)
        marks = [_mark(one) for one in constants]
        if column is not None and table is not None and marks and None not in marks:
            yield _Place(table, column.name, tuple(mark for mark in marks if mark is not None), way)


def _sides(node: exp.Expr) -> tuple[exp.Column | None, Sequence[exp.Expr], Literal["each", "range", "list"]]:
    if isinstance(node, exp.Between):
        column = node.this
        return (
            (column if isinstance(column, exp.Column) else None),
            [node.args["low"], node.args["high"]],
            "range",
        )
    if isinstance(node, exp.In):
        return (node.this if isinstance(node.this, exp.Column) else None), node.expressions, "list"
    left, right = node.this, node.expression
    if isinstance(left, exp.Column):
        return left, [right], "each"
    return (right if isinstance(right, exp.Column) else None), [left], "each"


def _mark(tree: exp.Expr) -> int | None:
    """The mark of a constant's literal: the constant, a cast of it, or what something is added to."""
    while isinstance(tree, exp.Paren | exp.Cast | exp.Add | exp.Sub):
        tree = tree.this
    found = tree.meta.get("mark") if isinstance(tree, exp.Literal) else None
    return found if isinstance(found, int) else None


def _table_of(column: exp.Column, schema: Schema) -> str | None:
    """The table of a column's alias, in the innermost query that has the alias."""
    select = column.find_ancestor(exp.Select)
    while select is not None:
        for item in from_items(select):
            if alias_of(item) == column.table:
                table = schema.table(item.name) if isinstance(item, exp.Table) else None
                return None if table is None or column.name.lower() not in table.by_name else table.name
        select = select.find_ancestor(exp.Select)
    return None


def _drawn(
    places: Sequence[_Place], literals: Sequence[exp.Literal], seed: int, file: _Source
) -> dict[int, Any]:
    """New values by mark."""
    by_column: dict[tuple[str, str], list[_Place]] = {}
    for place in places:
        by_column.setdefault((place.table, place.column), []).append(place)
    rng = random.Random(f"literals {seed}")
    found: dict[int, Any] = {}
    for (table, column), its in by_column.items():
        domain = _domain(*file, table, column)
        old = {mark: literals[mark] for place in its for mark in place.marks}
        if not domain or any(one.is_string == _is_number(domain[0]) for one in old.values()):
            continue  # a column without values, or a text that is compared with numbers
        listed = {mark for place in its if place.way == "list" for mark in place.marks}
        moved = {} if isinstance(domain[0], str) else {m: one for m, one in old.items() if m not in listed}
        if moved and all(_readable(one, domain[0]) for one in moved.values()):
            found.update(_moved({mark: _value(one, domain[0]) for mark, one in moved.items()}, domain, rng))
        chosen = {mark: one.name for mark, one in old.items() if mark not in moved}
        names = sorted(set(chosen.values()))
        values = rng.sample(domain, min(len(domain), len(names)))
        values += rng.choices(domain, k=len(names) - len(values))
        if all(isinstance(value, str) for value in values) and any(place.way == "range" for place in its):
            values.sort()  # names are, so that ranges of texts stay ranges
        new = dict(zip(names, values, strict=True))
        found.update({mark: new[name] for mark, name in chosen.items()})
    return found


def _moved(old: Mapping[int, Any], domain: Sequence[Any], rng: random.Random) -> dict[int, Any]:
    """Numbers or days of one column, all moved as far: the first to a value of the column, none out of its range."""
    least, most = min(old.values()), max(old.values())
    first = next(iter(old.values()))
    ways = [value - first for value in domain]
    within = [way for way in ways if domain[0] <= least + way and most + way <= domain[-1]]
    way = rng.choice(within) if within else first - first
    return {mark: value + way for mark, value in old.items()}


def _readable(literal: exp.Literal, like: Any) -> bool:
    try:
        _value(literal, like)
    except (ValueError, ArithmeticError):
        return False
    return True


def _value(literal: exp.Literal, like: Any) -> Any:
    """A literal's value as a column has its values; a number stays exact."""
    if isinstance(like, date):
        return date.fromisoformat(literal.name[:10])
    number = Decimal(literal.name)
    return int(number) if isinstance(like, int) and number == number.to_integral() else number


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal)


@functools.lru_cache(maxsize=1024)
def _domain(path: str, _written: int, table: str, column: str) -> tuple[Any, ...]:
    """Up to a thousand different values of a column, in their order, the same each time."""
    name = exp.to_identifier(column, quoted=True).sql("duckdb")
    source = exp.to_identifier(table, quoted=True).sql("duckdb")
    with _reader(path) as connection:
        rows = connection.execute(
            f"SELECT v FROM (SELECT DISTINCT {name} AS v FROM {source} "
            f"WHERE {name} IS NOT NULL AND {_WITHIN.get(table, 'true')}) ORDER BY hash(v), v LIMIT 1000"
        ).fetchall()
    values = sorted(value for (value,) in rows)
    floats = bool(values) and isinstance(values[0], float)
    return tuple(Decimal(str(value)) for value in values) if floats else tuple(values)


def _literal(value: Any) -> exp.Expr:
    if _is_number(value):
        number = exp.Literal.number(str(abs(value)))
        return exp.Paren(this=exp.Neg(this=number)) if value < 0 else number
    return exp.Literal.string(value.isoformat() if isinstance(value, date) else str(value))
