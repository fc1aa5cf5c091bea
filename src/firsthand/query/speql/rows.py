"""Rows on their way to a page or a file: windows of a large table, cells as a browser can show them, exports.

Knows Arrow tables. Knows nothing of sessions or of HTTP.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firsthand.errors import InputError

__all__ = ["FORMATS", "columns_of", "export", "ipc_bytes", "window"]

FORMATS = ("csv", "parquet", "arrow")

_SQL_NAMES = {
    "bool": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT",
    "uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT", "halffloat": "FLOAT",
    "float": "FLOAT", "double": "DOUBLE", "string": "VARCHAR", "large_string": "VARCHAR", "string_view": "VARCHAR",
    "binary": "BLOB", "large_binary": "BLOB", "date32[day]": "DATE", "time64[us]": "TIME", "null": "NULL",
    "month_day_nano_interval": "INTERVAL",
}  # fmt: skip


def columns_of(table: Any) -> list[dict[str, str]]:
    """Name, type as SQL writes it, and kind ("number", "time", "text") of each column."""
    return [
        {"name": field.name, "type": _sql_name(field.type), "kind": _kind(field.type)}
        for field in table.schema
    ]


def _sql_name(kind: Any) -> str:
    import pyarrow.types as types

    if types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    if types.is_timestamp(kind):
        return "TIMESTAMPTZ" if kind.tz else "TIMESTAMP"
    if types.is_list(kind) or types.is_large_list(kind):
        return f"{_sql_name(kind.value_type)}[]"
    if types.is_struct(kind):
        return "STRUCT"
    if types.is_map(kind):
        return "MAP"
    if types.is_dictionary(kind):
        return "ENUM"
    return _SQL_NAMES.get(str(kind), str(kind).upper())


def _kind(kind: Any) -> str:
    import pyarrow.types as types

    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    return "time" if types.is_date(kind) or types.is_timestamp(kind) else "text"


def window(table: Any, start: int, count: int) -> Any:
    """Rows [start, start + count) with columns of booleans, numbers and texts as they are, all others as text.

    Columns are named by their place: names may be there twice. Integers of more than 53 bits stay integers; decimals
    are texts, for no binary number holds them.
    """
    import pyarrow as pa

    part = table.slice(start, count)
    return pa.table(
        [_shown(column) for column in part.columns], names=[f"c{n}" for n in range(part.num_columns)]
    )


def _shown(column: Any) -> Any:
    """A column that every reader of Arrow shows the same way."""
    import pyarrow as pa
    import pyarrow.types as types

    kind = column.type
    if types.is_boolean(kind) or types.is_integer(kind) or kind in (pa.float32(), pa.float64(), pa.string()):
        return column
    return _texts(column)


def _texts(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.types as types

    kind = column.type
    if types.is_timestamp(kind):  # seconds alone, where there are no parts of them
        with contextlib.suppress(pa.ArrowInvalid):
            column = column.cast(pa.timestamp("s", kind.tz))
    if not (types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind)):
        try:
            return column.cast(pa.string())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            pass
    return pa.chunked_array([pa.array([_text(value) for value in column.to_pylist()], pa.string())])


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return str(value)


def ipc_bytes(table: Any) -> bytes:
    """The table as an Arrow IPC stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


# --- files ----------------------------------------------------------------------


def export(table: Any, form: str, path: Path) -> None:
    """Write a table as "csv", "parquet" or "arrow" (an Arrow IPC file); raises `InputError` for another format."""
    writers: dict[str, Callable[[Any, Path], None]] = {"csv": _csv, "parquet": _parquet, "arrow": _arrow}
    if form not in writers:
        raise InputError(f"{form!r} is not a format that rows are exported in; choose {', '.join(FORMATS)}")
    writers[form](table, path)


def _csv(table: Any, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.types as types

    plain = [
        _texts(column)
        if types.is_nested(column.type) or types.is_interval(column.type) or types.is_binary(column.type)
        else column.cast(column.type.value_type)
        if types.is_dictionary(column.type)
        else column
        for column in table.columns
    ]
    pa.csv.write_csv(pa.table(plain, names=table.column_names), path)


def _parquet(table: Any, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet
    import pyarrow.types as types

    # Parquet has no intervals of months, days and nanoseconds, and wants a name once.
    columns = [_texts(column) if types.is_interval(column.type) else column for column in table.columns]
    pa.parquet.write_table(pa.table(columns, names=_distinct(table.column_names)), path)


def _arrow(table: Any, path: Path) -> None:
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _distinct(names: list[str]) -> list[str]:
    """The names, a number behind those that stood before."""
    found: list[str] = []
    for name in names:
        free, number = name, 1
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found
