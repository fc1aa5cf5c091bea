"""The answers of one run as columns: what was chosen, whether it was right, and how uncertain the model was.

Measures of which higher means more certain (`option_mass`, `msp`, `margin`) are stored as they are and turned round by
`UncertaintyTable.uncertainty`, so that a score asked of a table always grows with doubt.

An invalid answer (none of the options) stays a row. It is never right; what a report does with it is the report's
`invalid`: "apart" leaves it out of the figures and counts it beside them, "error" counts it as wrong.

Knows rows and files of them. Knows no model and no figure that is computed from rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from firsthand.corpora.files import parquet_module
from firsthand.corpora.places import atomic_file
from firsthand.corpora.tables import arrow, write_table
from firsthand.errors import InputError, NotFoundError
from firsthand.evaluation.uncertainty.errors import EmptyGroup, NonFiniteScores
from firsthand.evaluation.uncertainty.estimates import Flags, Floats

__all__ = ["Invalid", "UncertaintyTable", "check_invalid", "read_table"]

Invalid = Literal["apart", "error"]
MEASURES = ("H_vocab", "H_options", "option_mass", "msp", "margin")
CERTAIN = ("option_mass", "msp", "margin")  # higher is more certain; each at most 1
_FLAGS = ("valid", "correct", "truncated")
_COUNTS = ("choice", "n_options", "n_tokens")
_NEEDED = ("id", "choice", "valid", "correct")


@dataclass(frozen=True, eq=False)
class UncertaintyTable:
    """Answers as columns of equal length n.

    Made by `from_rows`, `from_columns`, `from_arrow` and `read_table`, which check every value.

    A measure that was not taken is NaN, a number that is not known −1, a name that is missing None.
    """

    id: tuple[str, ...]  # each once
    choice: NDArray[np.int64]  # (n,) place of the chosen option; −1 where the answer was invalid
    valid: Flags
    correct: Flags
    H_vocab: Floats  # nats
    H_options: Floats  # nats, over the question's options alone
    option_mass: Floats  # [0, 1]
    msp: Floats  # [0, 1] probability of the likeliest option
    margin: Floats  # [0, 1] that less the probability of the second
    n_options: NDArray[np.int64]
    n_tokens: NDArray[np.int64]  # tokens of the answer
    truncated: Flags  # true where only the first log-probabilities were known: H_vocab is a lower bound
    subject: tuple[str | None, ...]
    labels: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    scores: Mapping[str, Floats] = field(default_factory=dict)  # further ones, higher is less certain

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> UncertaintyTable:
        """A table of mappings with the names of the columns; labels are `label.NAME` and scores `score.NAME`.

        `id`, `choice`, `valid` and `correct` are needed; `choice` may be None where `valid` is false.

        Raises:
            InputError: a field that is missing or unknown, or a value that cannot be; the message says where.
            EmptyGroup: no row.
        """
        listed = list(rows)
        for number, row in enumerate(listed):
            if not isinstance(row, Mapping):
                raise InputError(f"row {number}: expected a mapping, got {type(row).__name__}")
            missing = [name for name in _NEEDED if name not in row]
            if missing:
                raise InputError(f"row {number}: no field {missing[0]!r}; needed are {', '.join(_NEEDED)}")
        names = dict.fromkeys(name for row in listed for name in row)
        return cls.from_columns({name: [row.get(name) for row in listed] for name in names})

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]]) -> UncertaintyTable:
        """A table of columns by name; see `from_rows`."""
        return _checked({name: list(values) for name, values in columns.items()})

    @classmethod
    def from_arrow(cls, table: Any) -> UncertaintyTable:
        """A table of a `pyarrow.Table` with the same names; see `from_rows`."""
        return cls.from_columns({name: table.column(name).to_pylist() for name in table.column_names})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row as a mapping for `from_rows`; what is missing is None."""
        columns = self._columns()
        for row in zip(*columns.values(), strict=True):
            yield dict(zip(columns, row, strict=True))

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`; what is missing is null.

        Raises:
            MissingDependencyError: pyarrow is not installed.
        """
        pa, _ = arrow()
        kinds = {
            **dict.fromkeys(MEASURES, pa.float64()),
            **dict.fromkeys(_COUNTS, pa.int64()),
            **dict.fromkeys(_FLAGS, pa.bool_()),
        }
        return pa.table(
            {
                name: pa.array(
                    values, kinds.get(name, pa.float64() if name.startswith("score.") else pa.string())
                )
                for name, values in self._columns().items()
            }
        )

    def write(self, path: Path | str) -> None:
        """Write a `.jsonl` or `.parquet` file, whole or not at all; `read_table` gives the same table.

        Raises:
            InputError: another kind of file.
            OutputError: it cannot be written.
            MissingDependencyError: Parquet without pyarrow.
        """
        path = Path(path)
        if path.suffix == ".parquet":
            write_table(self.to_arrow(), path)
        elif path.suffix == ".jsonl":
            # What is missing is left out, except where all rows might lack it and the column would be lost.
            always = {
                "choice",
                *(f"label.{name}" for name in self.labels),
                *(f"score.{name}" for name in self.scores),
            }
            with atomic_file(path) as beside, beside.open("w", encoding="utf-8") as stream:
                for row in self.rows():
                    kept = {name: value for name, value in row.items() if value is not None or name in always}
                    stream.write(json.dumps(kept, ensure_ascii=False, allow_nan=False) + "\n")
        else:
            raise InputError(f"{path}: a table is written to a .jsonl or a .parquet file")

    def take(self, which: Any) -> UncertaintyTable:
        """The rows at (n,) flags, or at places.

        Raises:
            InputError: flags of another length, or places outside.
            EmptyGroup: none.
        """
        chosen = np.asarray(which)
        if chosen.dtype == np.bool_:
            if chosen.shape != (len(self),):
                raise InputError(f"flags must have the shape ({len(self)},), got {chosen.shape}")
            chosen = np.flatnonzero(chosen)
        if not chosen.size:
            raise EmptyGroup(f"none of {len(self)} rows is chosen")
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= len(self):
            raise InputError(f"rows are chosen by flags, or by places from 0 to {len(self) - 1}")
        columns = self._columns()
        places = chosen.tolist()
        return _checked({name: [values[place] for place in places] for name, values in columns.items()})

    @property
    def group_names(self) -> tuple[str, ...]:
        """What rows can be grouped by: "subject", and the labels."""
        return ("subject", *self.labels)

    def group(self, name: str) -> tuple[str | None, ...]:
        """(n,) the subject, or a label, of each row.

        Raises:
            InputError: there is none of this name.
        """
        if name == "subject":
            return self.subject
        if name not in self.labels:
            raise InputError(f"no column {name!r} to group by; there are {', '.join(self.group_names)}")
        return self.labels[name]

    @property
    def score_names(self) -> tuple[str, ...]:
        """What `uncertainty` takes."""
        return (*MEASURES, *self.scores)

    def uncertainty(self, name: str, which: Flags | None = None) -> Floats:
        """(n,) a score, or (k,) that of the rows at `which`; higher is less certain.

        That is one less the measure for `option_mass`, `msp` and `margin`, and the number itself for all others.

        Raises:
            InputError: there is none of this name.
            NonFiniteScores: a row without it, by its id.
        """
        if name not in self.score_names:
            raise InputError(f"no score {name!r}; there are {', '.join(self.score_names)}")
        values: Floats = self.scores[name] if name in self.scores else getattr(self, name)
        rows = np.arange(len(self)) if which is None else np.flatnonzero(which)
        wrong = rows[~np.isfinite(values[rows])]
        if wrong.size:
            raise NonFiniteScores(f"scores {name!r}", [self.id[row] for row in wrong])
        return np.asarray(1 - values[rows] if name in CERTAIN else values[rows])

    def judged(self, invalid: Invalid = "apart") -> Flags:
        """(n,) the rows that figures are computed from: all but invalid ones, or all.

        Raises:
            InputError: another word.
        """
        return self.valid if check_invalid(invalid) == "apart" else np.ones(len(self), np.bool_)

    def _columns(self) -> dict[str, list[Any]]:
        """Column by name, with None for what is missing."""
        columns: dict[str, list[Any]] = {"id": list(self.id)}
        for name in _COUNTS:
            columns[name] = [None if value < 0 else value for value in getattr(self, name).tolist()]
        for name in _FLAGS:
            columns[name] = getattr(self, name).tolist()
        for name in MEASURES:
            columns[name] = _or_none(getattr(self, name))
        columns["subject"] = list(self.subject)
        columns |= {f"label.{name}": list(values) for name, values in self.labels.items()}
        return columns | {f"score.{name}": _or_none(values) for name, values in self.scores.items()}


def check_invalid(invalid: str) -> Invalid:
    """`invalid` itself.

    Raises:
        InputError: another word than "apart" and "error".
    """
    if invalid == "apart":
        return "apart"
    if invalid == "error":
        return "error"
    raise InputError(f"invalid must be one of {', '.join(get_args(Invalid))}, got {invalid!r}")


def read_table(path: Path | str) -> UncertaintyTable:
    """A table that `UncertaintyTable.write` wrote, or another with its columns.

    Raises:
        NotFoundError: no such file.
        InputError: another kind of file, a damaged one, or what `from_rows` refuses.
        EmptyGroup: no row.
        MissingDependencyError: Parquet without pyarrow.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    if path.suffix not in (".jsonl", ".parquet"):
        raise InputError(f"{path}: a table is read from a .jsonl or a .parquet file")
    try:
        if path.suffix == ".parquet":
            with path.open("rb") as stream:
                return UncertaintyTable.from_arrow(parquet_module().read_table(stream))
        with path.open(encoding="utf-8") as lines:
            return UncertaintyTable.from_rows(json.loads(line) for line in lines if line.strip())
    except EmptyGroup as error:
        raise EmptyGroup(f"{path}: {error}") from error
    except (OSError, ValueError, RecursionError) as error:  # also pyarrow's, json's and ours
        raise InputError(f"{path}: {error}") from error


# --- columns -----------------------------------------------------------------------------------------


def _or_none(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _checked(columns: dict[str, list[Any]]) -> UncertaintyTable:
    own = ("id", "subject", *_COUNTS, *_FLAGS, *MEASURES)
    for name in columns:
        if name not in own and not (name.startswith(("label.", "score.")) and len(name) > 6):
            raise InputError(
                f"no column {name!r}: there are {', '.join(own)}, and label.NAME and score.NAME for further ones"
            )
    missing = [name for name in _NEEDED if name not in columns]
    if missing and columns:
        raise InputError(f"no column {missing[0]!r}; needed are {', '.join(_NEEDED)}")
    n = len(columns.get("id", ()))
    if n == 0:
        raise EmptyGroup("a table needs at least one row")
    for name, values in columns.items():
        if len(values) != n:
            raise InputError(f"column {name!r} has {len(values)} rows where 'id' has {n}")
    first: dict[str, int] = {}
    for row, value in enumerate(columns["id"]):
        if not isinstance(value, str) or not value:
            raise InputError(f"row {row}: id must be a text that is not empty, got {value!r}")
        if value in first:
            raise InputError(f"row {row}: the id {value!r} was taken by row {first[value]}")
        first[value] = row
    ids = tuple(columns["id"])

    def wrong(row: int, name: str, needs: str) -> InputError:
        return InputError(f"row {row} ({ids[row]!r}): {name} must be {needs}, got {columns[name][row]!r}")

    def flags(name: str) -> Flags:
        values = columns.get(name, [False] * n)
        if name == "truncated":
            values = [False if value is None else value for value in values]
        for row, value in enumerate(values):
            if not isinstance(value, bool | np.bool_):
                raise wrong(row, name, "true or false")
        return np.array(values, np.bool_)

    def counts(name: str, least: int) -> NDArray[np.int64]:
        found = np.full(n, -1, np.int64)
        for row, value in enumerate(columns.get(name, ())):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise wrong(row, name, f"a whole number from {least}, or left out")
            found[row] = value
        return found

    def numbers(name: str, most: float) -> Floats:
        found = np.full(n, math.nan)
        for row, value in enumerate(columns.get(name, ())):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
                raise wrong(row, name, "a number, or left out")
            number = float(value)
            if math.isinf(number) or (
                not name.startswith("score.") and not -1e-9 <= number <= most and number == number
            ):
                raise wrong(row, name, "finite" if math.isinf(number) else f"from 0 to {most:g}")
            found[row] = number
        return found

    def names(name: str) -> tuple[str | None, ...]:
        values = columns.get(name, [None] * n)
        for row, value in enumerate(values):
            if value is not None and (not isinstance(value, str) or not value):
                raise wrong(row, name, "a text that is not empty, or left out")
        return tuple(values)

    choice, n_options = counts("choice", 0), counts("n_options", 2)
    valid, correct = flags("valid"), flags("correct")
    for row in range(n):
        if valid[row] != (choice[row] >= 0):
            raise wrong(row, "choice", "a place where the answer is valid, and left out where it is not")
        if correct[row] and not valid[row]:
            raise wrong(row, "correct", "false where the answer is invalid")
        if 0 <= n_options[row] <= choice[row]:
            raise wrong(row, "choice", f"below n_options, {n_options[row]}")
    return UncertaintyTable(
        id=ids,
        choice=choice,
        valid=valid,
        correct=correct,
        **{name: numbers(name, 1 + 1e-9 if name in CERTAIN else math.inf) for name in MEASURES},
        n_options=n_options,
        n_tokens=counts("n_tokens", 0),
        truncated=flags("truncated"),
        subject=names("subject"),
        labels={name[6:]: names(name) for name in columns if name.startswith("label.")},
        scores={name[6:]: numbers(name, math.inf) for name in columns if name.startswith("score.")},
    )
