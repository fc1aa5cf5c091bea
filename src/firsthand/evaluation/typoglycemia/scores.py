"""The table of scores: one row for each item, dose, context, arm and layer, read and checked once.

    item        id of the text            word        its target, the unit that is drawn again
    sr          nominal dose              realised    dose reached
    ci          context integrity         arm         scramble, wrong, segment, wrong_segment or blank
    layer       0 is the embedding        cos         SemRecScore
    n_pieces    tokens of the word in this arm

Several rows of one item, dose, context, arm and layer are draws of the scramble, and are averaged. Controls that are
cut into pieces stand at the dose whose piece count they match.

Knows rows. Knows no statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.evaluation.typoglycemia.similarity import floats_of

__all__ = ["ARMS", "COLUMNS", "Arm", "Grid", "Scores", "as_scores"]

Floats = NDArray[np.float64]
Arm = Literal["scramble", "wrong", "segment", "wrong_segment", "blank"]
ARMS: tuple[Arm, ...] = get_args(Arm)
COLUMNS = ("item", "word", "sr", "realised", "ci", "arm", "layer", "cos", "n_pieces")


@dataclass(frozen=True, eq=False)
class Scores:
    """Rows as columns of equal length n. Made by `as_scores`, which checks every value."""

    items: tuple[str | int, ...]  # in the order in which they came
    words: tuple[str, ...]  # (items,) the word of each item
    item: NDArray[np.intp]  # (n,) places in items
    sr: Floats
    realised: Floats
    ci: Floats
    arm: NDArray[np.intp]  # (n,) places in ARMS
    layer: NDArray[np.intp]
    cos: Floats
    n_pieces: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.item)

    def layers(self) -> tuple[int, ...]:
        """The layers that have rows, ascending."""
        return tuple(int(layer) for layer in np.unique(self.layer))

    def grid(
        self,
        arm: Arm,
        *,
        layer: int = -1,
        srs: Sequence[float] | None = None,
        cis: Sequence[float] | None = None,
    ) -> Grid:
        """One arm's means at one layer, every item at every dose and context.

        Args:
            arm: one of `ARMS`.
            layer: a layer, or a negative place among those that there are: -1 is the last.
            srs: doses in the order wanted; None for all of this arm, ascending.
            cis: contexts; the same.

        Raises:
            InputError: an unknown arm or layer, no such rows, or an item without a cell of the grid.
        """
        if arm not in ARMS:
            raise InputError(f"arm must be one of {', '.join(ARMS)}, got {arm!r}")
        there = self.layers()
        number = there[layer] if -len(there) <= layer < 0 else layer
        rows = np.flatnonzero((self.arm == ARMS.index(arm)) & (self.layer == number))
        if not rows.size:
            raise InputError(f"there is no row of arm {arm!r} at layer {layer}; the layers are {list(there)}")
        kept_srs = _levels("srs", srs, self.sr[rows])
        kept_cis = _levels("cis", cis, self.ci[rows])
        x, y = _places(self.sr[rows], kept_srs), _places(self.ci[rows], kept_cis)
        rows, x, y = (values[(x >= 0) & (y >= 0)] for values in (rows, x, y))
        shape = (len(self.items), len(kept_srs), len(kept_cis))
        cell = np.ravel_multi_index((self.item[rows], x, y), shape)
        size = int(np.prod(shape))
        count = np.bincount(cell, minlength=size)
        if not count.all():
            i, j, k = np.unravel_index(int(np.flatnonzero(count == 0)[0]), shape)
            raise InputError(
                f"item {self.items[i]!r} has no row of arm {arm!r} at sr {kept_srs[j]:g}, ci {kept_cis[k]:g}, layer "
                f"{number}; leave the item out, or name the doses and contexts that all items have"
            )
        cos, realised = (
            (np.bincount(cell, values[rows], minlength=size) / count).reshape(shape)
            for values in (self.cos, self.realised)
        )
        return Grid(self.items, self.words, tuple(kept_srs), tuple(kept_cis), cos, realised)


@dataclass(frozen=True, eq=False)
class Grid:
    """One arm at one layer."""

    items: tuple[str | int, ...]
    words: tuple[str, ...]  # (items,)
    srs: tuple[float, ...]
    cis: tuple[float, ...]
    cos: Floats  # (items, srs, cis)
    realised: Floats  # (items, srs, cis)


def as_scores(source: Any) -> Scores:
    """Read a table of scores.

    Args:
        source: `Scores`, a sequence of mappings, an Arrow table, a data frame, or a mapping of columns, with the
            columns that the module names; others are passed over.

    Raises:
        InputError: a column or a value that is missing or cannot be, or an item with two words.
    """
    if isinstance(source, Scores):
        return source
    columns = _columns(source)
    n = len(columns["item"])
    if n == 0:
        raise InputError("the table of scores has no rows")
    for name in COLUMNS:
        if len(columns[name]) != n:
            raise InputError(f"column {name!r} has {len(columns[name])} rows and column 'item' {n}")
    place: dict[str | int, int] = {}
    words: list[str] = []
    item = np.empty(n, np.intp)
    for row, (name, word) in enumerate(zip(columns["item"], columns["word"], strict=True)):
        if isinstance(name, bool) or not isinstance(name, str | int) or not isinstance(word, str) or not word:
            raise InputError(
                f"row {row}: item must be a text or a whole number and word a text, got {name!r}, {word!r}"
            )
        item[row] = place.setdefault(name, len(place))
        if item[row] == len(words):
            words.append(word)
        elif words[item[row]] != word:
            raise InputError(
                f"row {row}: item {name!r} has the word {word!r} and before it {words[item[row]]!r}"
            )
    for row, arm in enumerate(columns["arm"]):
        if arm not in ARMS:
            raise InputError(f"row {row}: arm must be one of {', '.join(ARMS)}, got {arm!r}")
    sr, realised, ci = (_between(name, columns[name], 0, 1) for name in ("sr", "realised", "ci"))
    return Scores(
        items=tuple(place),
        words=tuple(words),
        item=item,
        sr=sr,
        realised=realised,
        ci=ci,
        arm=np.array([ARMS.index(arm) for arm in columns["arm"]], np.intp),
        layer=_whole("layer", columns["layer"], 0),
        cos=_between("cos", columns["cos"], -1, 1),
        n_pieces=_whole("n_pieces", columns["n_pieces"], 1),
    )


def _columns(source: Any) -> dict[str, list[Any]]:
    if hasattr(source, "column_names"):  # Arrow
        found = {name: source.column(name).to_pylist() for name in COLUMNS if name in source.column_names}
    elif isinstance(source, Mapping) or hasattr(source, "columns"):
        names = source if isinstance(source, Mapping) else source.columns
        found = {name: np.asarray(source[name], object).tolist() for name in COLUMNS if name in names}
    elif isinstance(source, Sequence) and source and all(isinstance(row, Mapping) for row in source):
        found = {
            name: [row[name] for row in source] for name in COLUMNS if all(name in row for row in source)
        }
    else:
        raise InputError(f"expected a table or rows of scores, got {type(source).__name__} without any")
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise InputError(f"the table of scores lacks {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    return {
        name: [value.item() if isinstance(value, np.generic) else value for value in values]
        for name, values in found.items()
    }


def _between(name: str, values: list[Any], low: float, high: float) -> Floats:
    found = floats_of(values, f"column {name!r}")
    wrong = np.flatnonzero((found < low - 1e-9) | (found > high + 1e-9))
    if wrong.size:
        raise InputError(f"row {wrong[0]}: {name} must be from {low} to {high}, got {found[wrong[0]]:g}")
    return found


def _whole(name: str, values: list[Any], least: int) -> NDArray[np.intp]:
    found = floats_of(values, f"column {name!r}")
    wrong = np.flatnonzero((found < least) | (found != np.floor(found)))
    if wrong.size:
        raise InputError(
            f"row {wrong[0]}: {name} must be a whole number of at least {least}, got {found[wrong[0]]:g}"
        )
    return found.astype(np.intp)


def _levels(name: str, wanted: Sequence[float] | None, there: Floats) -> list[float]:
    if wanted is None:
        return [float(level) for level in np.unique(there)]
    found = [float(level) for level in floats_of(wanted, name).ravel()]
    if not found or len(set(found)) < len(found):
        raise InputError(f"{name} must name at least one level and none twice, got {list(wanted)}")
    for level in found:
        if level not in there:
            raise InputError(f"{name}: no row has {level:g}; there are {np.unique(there).tolist()}")
    return found


def _places(values: Floats, levels: list[float]) -> NDArray[np.intp]:
    found = np.full(values.shape, -1, np.intp)
    for place, level in enumerate(levels):
        found[values == level] = place
    return found
