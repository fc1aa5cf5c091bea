"""Columns of attempts as they come, from lists, arrays, Arrow and data frames, to arrays whose every value is checked.

Knows what a name, a flag, a runtime and a time look like there and says which row holds another thing. Knows no
attempts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError

__all__ = [
    "arrow_column",
    "as_float",
    "first_of",
    "flags_of",
    "in_utc",
    "is_number",
    "names_of",
    "plain_column",
    "runtimes_of",
    "times_of",
]


@dataclass(frozen=True)
class Coded:
    """A column of names as Arrow keeps them: each once, and (n,) places among them, -1 for none."""

    names: list[Any]
    places: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.places)


def arrow_column(table: Any, name: str) -> Any:
    """A list, or something that is the same and faster."""
    column = table.column(name)
    kind = str(column.type)
    if kind.startswith(("string", "large_string", "dictionary")):
        coded = column.combine_chunks().dictionary_encode()
        places = coded.indices.fill_null(-1).to_numpy().astype(np.intp)
        return Coded(coded.dictionary.to_pylist(), places)
    if (
        kind in ("double", "float")
        or kind.startswith("timestamp")
        or (kind == "bool" and not column.null_count)
    ):
        return column.to_numpy()
    return column.to_pylist()


def plain_column(values: Any) -> Any:
    """A list, or an array of floats, flags or times; of what a data frame or a mapping has for a column."""
    to_numpy = getattr(values, "to_numpy", None)
    values = values if to_numpy is None else to_numpy()
    if isinstance(values, np.ndarray):
        return values if values.dtype.kind in "bfM" else values.tolist()
    return list(values)


def is_number(value: object) -> bool:
    """Whether it is a number, and no flag."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def as_float(value: Any) -> float:
    """The number, infinite where it is too large."""
    try:
        return float(value)
    except OverflowError:  # an integer of JSON may have any length
        return math.inf


def is_absent(value: Any) -> bool:
    """Whether it stands for nothing: None, a NaN, pandas' NA and NaT."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in ("NAType", "NaTType")


def first_of(wrong: NDArray[np.bool_]) -> int:
    """The first row where it is true."""
    return int(np.flatnonzero(wrong)[0])


def names_of(what: str, values: Any, *, optional: bool = False) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """The names, sorted, and (n,) the place of each value among them, -1 for none."""
    if isinstance(values, Coded):
        first = {name: number for number, name in enumerate(values.names)}
        seen = values.places
        if (seen < 0).any():
            first[None] = len(first)
            seen = np.where(seen < 0, first[None], seen)
    else:
        first = {}
        try:
            seen = np.fromiter(
                (first.setdefault(value, len(first)) for value in values), np.intp, len(values)
            )
        except TypeError as error:  # not hashable
            raise InputError(f"{what} must be a text on every attempt: {error}") from error
    texts = []
    for name, number in first.items():
        if isinstance(name, str) and name:
            texts.append(name)
        elif not (optional and is_absent(name)) and (seen == number).any():
            raise InputError(
                f"attempt {first_of(seen == number)}: {what} must be a text that is not empty, got {name!r}"
            )
    texts.sort()
    place = np.full(len(first), -1, np.intp)
    for number, name in enumerate(texts):
        place[first[name]] = number
    used = np.unique(place[seen])  # Arrow keeps names that no row has, after a filter
    used = used[used >= 0]
    if used.size < len(texts):
        renumbered = np.full(len(texts) + 1, -1, np.intp)
        renumbered[used] = np.arange(used.size)
        return tuple(texts[number] for number in used), renumbered[place[seen]]
    return tuple(texts), place[seen]


def flags_of(what: str, values: Any) -> NDArray[np.bool_]:
    """(n,) flags; 1 and "yes" are none."""
    if isinstance(values, np.ndarray) and values.dtype == np.bool_:
        return values
    for number, value in enumerate(values):
        if value is not True and value is not False and not isinstance(value, np.bool_):
            raise InputError(f"attempt {number}: {what} must be true or false, got {value!r}")
    return np.array(values, np.bool_)


def runtimes_of(values: Any) -> NDArray[np.float64]:
    """(n,) numbers, NaN where there is none."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return values.astype(np.float64)
    found = np.full(len(values), math.nan)
    for number, value in enumerate(values):
        if is_number(value):
            found[number] = as_float(value)
        elif not is_absent(value):
            raise InputError(
                f"attempt {number}: runtime_ms must be a number of milliseconds or none, got {value!r}"
            )
    return found


def times_of(values: Any, size: int) -> NDArray[np.datetime64]:
    """(n,) times in UTC, µs, from datetimes or ISO 8601; NaT where there is none, or no column (None)."""
    if values is None:
        return np.full(size, np.datetime64("NaT", "us"))
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    found = np.full(size, np.datetime64("NaT", "us"))
    for number, value in enumerate(values):
        if is_absent(value):
            continue
        try:
            when = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            when = None
        if not isinstance(when, datetime):
            raise InputError(
                f"attempt {number}: submitted_at must be a time, such as 2024-07-30T12:00:00Z, got {value!r}"
            )
        found[number] = np.datetime64(in_utc(when).replace(tzinfo=None), "us")
    return found


def in_utc(when: datetime) -> datetime:
    """The same moment in UTC; a time without a zone is taken as UTC."""
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
