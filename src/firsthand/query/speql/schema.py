"""What tables there are and what columns they have: all that speculation may know of a database.

Knows names, types and sizes, and how a dialect folds names. Knows no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlglot.dialects.dialect import Dialect, NormalizationStrategy
from sqlglot.schema import MappingSchema

from firsthand.errors import InputError

__all__ = ["EXACT_NUMBERS", "Column", "Schema", "Table", "width_of"]


@dataclass(frozen=True)
class Column:
    """A column: its name as the catalog writes it, and its type in the engine's own words."""

    name: str
    type: str


@dataclass(frozen=True)
class Table:
    """A table or view that queries may name.

    Attributes:
        name: as a query would write it, without quotes: `sales`, or `staging.sales` outside the first schema.
        columns: in the table's order.
        rows: about how many; None where the catalog does not say.
        settled: False for a view whose rows differ from read to read, such as one over random().
    """

    name: str
    columns: tuple[Column, ...]
    rows: int | None = None
    settled: bool = True

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Columns by folded name."""
        return {column.name.lower(): column for column in self.columns}


@dataclass(frozen=True)
class Schema:
    """The tables of a database, for one SQL dialect (sqlglot's name of it).

    Names are looked up without regard to case, as DuckDB, PostgreSQL and Spark read unquoted ones; two tables or two
    columns of a table whose names differ in case alone raise `InputError`, for nobody could tell them apart.
    """

    tables: tuple[Table, ...]
    dialect: str = "duckdb"
    _by_name: Mapping[str, Table] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found: dict[str, Table] = {}
        for table in self.tables:
            if found.setdefault(table.name.lower(), table) is not table:
                raise InputError(f"two tables are named {table.name!r} (case aside)")
            if len(table.by_name) < len(table.columns):
                raise InputError(f"two columns of {table.name!r} have one name (case aside)")
        object.__setattr__(self, "_by_name", found)

    @classmethod
    def of(cls, tables: Mapping[str, Mapping[str, str]], *, dialect: str = "duckdb") -> Schema:
        """A schema written by hand: `Schema.of({"sales": {"item": "VARCHAR", "price": "INTEGER"}})`."""
        return cls(
            tuple(
                Table(name, tuple(Column(column, type_) for column, type_ in columns.items()))
                for name, columns in tables.items()
            ),
            dialect,
        )

    def table(self, name: str) -> Table | None:
        """The table of that name (`sales`, `staging.sales`), or None."""
        return self._by_name.get(name.lower())

    def names(self) -> Iterable[str]:
        """Names of all tables."""
        return (table.name for table in self.tables)

    @cached_property
    def sqlglot(self) -> MappingSchema:
        """The same for sqlglot's optimizer: every table by its last name, and by its schema's where it has one."""
        plain: dict[str, Any] = {}
        depth = max((table.name.count(".") for table in self.tables), default=0)
        for table in self.tables:
            parts = table.name.split(".")
            place = plain
            for part in ["main"] * (depth - len(parts) + 1) + parts[:-1]:
                place = place.setdefault(part, {})
            place[parts[-1]] = {column.name: column.type for column in table.columns}
        strategy = Dialect.get_or_raise(self.dialect).normalization_strategy
        folds = strategy is NormalizationStrategy.CASE_INSENSITIVE
        return MappingSchema(plain, dialect=self.dialect, normalize=folds)


EXACT_NUMBERS = frozenset(
    {
        "TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
        "UHUGEINT", "DECIMAL", "NUMERIC", "INT2", "INT4", "INT8",
    }
)  # fmt: skip
"""Names of the types whose values are whole or decimal: adding them up in another order gives the same."""

_WIDTHS = {
    "BOOLEAN": 1, "TINYINT": 1, "UTINYINT": 1, "SMALLINT": 2, "USMALLINT": 2, "INT2": 2, "INTEGER": 4, "INT": 4,
    "UINTEGER": 4, "INT4": 4, "FLOAT": 4, "REAL": 4, "DATE": 4, "HUGEINT": 16, "UHUGEINT": 16, "UUID": 16,
    "INTERVAL": 16, "VARCHAR": 16, "TEXT": 16, "STRING": 16, "CHAR": 16, "BLOB": 32,
}  # fmt: skip


def width_of(type_: str) -> float:
    """About how many bytes a value of a type takes, from the type alone (8 where nothing is known, 64 if nested)."""
    name = type_.upper().partition("(")[0].strip()
    nested = name.startswith(("STRUCT", "MAP", "UNION", "ARRAY", "JSON")) or name.endswith("]")
    return 64.0 if nested else float(_WIDTHS.get(name, 8))
