"""Models without a network: a table of bigrams, and n-gram counts learnt from tokens.

Both keep the `CausalLM` protocol, positions and masks included, in float64 on the CPU. They serve as drafts
that cost microseconds, and as toys of which everything is known. Both look only at the last tokens that a
position sees, so their cache (`HistoryCache`) holds tokens and positions and nothing else.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError, NotFoundError, OutputError
from firsthand.lm.backend import require

if TYPE_CHECKING:
    import torch

__all__ = ["HistoryCache", "NGramLM", "TableLM"]

_FORMAT = 1
_ARRAYS = ("keys", "starts", "tokens", "counts")


class HistoryCache:
    """The tokens that were read and their positions in the text, one entry a token."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self._linear = 0  # entries from the start on that lie at their own position: committed text

    @property
    def length(self) -> int:
        """How many entries there are."""
        return len(self.tokens)

    @property
    def linear(self) -> bool:
        """Whether every entry's position is its index: text, no tree."""
        return self._linear == len(self.tokens)

    def append(self, tokens: Sequence[int], positions: Sequence[int]) -> None:
        """Read `tokens` at `positions`."""
        if self.linear:
            first = len(self.tokens)
            fitting = (offset for offset, place in enumerate(positions) if place != first + offset)
            self._linear += next(fitting, len(positions))
        self.tokens += tokens
        self.positions += positions

    def truncate(self, length: int) -> None:
        """Forget all entries from `length` on."""
        if length < 0:
            raise InputError(f"a cache cannot be cut to {length} entries")
        del self.tokens[length:], self.positions[length:]
        self._linear = min(self._linear, length)

    def commit(self, base: int, kept: Sequence[int]) -> None:
        """Of the entries from `base` on keep those at the indices `kept` (ascending), moved up to `base`."""
        path = list(kept)
        if any(b <= a for a, b in zip([base - 1, *path], path, strict=False)) or (
            path and path[-1] >= len(self.tokens)
        ):
            raise InputError(f"cannot keep entries {path} of {len(self.tokens)} from {base} on")
        self.tokens[base:] = [self.tokens[index] for index in path]
        self.positions[base:] = range(base, len(self.tokens))
        self._linear = len(self.tokens) if self._linear >= base else self._linear

    def fork(self) -> HistoryCache:
        """An independent copy."""
        copy = HistoryCache()
        copy.tokens, copy.positions, copy._linear = list(self.tokens), list(self.positions), self._linear
        return copy

    def contexts(
        self, count: int, wanted: int, width: int, mask: NDArray[np.bool_] | None
    ) -> list[tuple[int, ...]]:
        """What the last `wanted` of the `count` latest entries see: their up to `width` last tokens each.

        A context is in order of position, the entry's own token last. `mask` is (count, m), as
        `CausalLM.forward` has it.
        """
        end = len(self.tokens)
        rows = range(count - wanted, count)
        if mask is None and self.linear:
            ends = [end - count + row + 1 for row in rows]
            return [tuple(self.tokens[max(0, stop - width) : stop]) for stop in ends]
        if mask is None:
            mask = np.tri(count, dtype=bool)
        outside = end - mask.shape[1]
        everything = list(range(outside))
        if self._linear >= outside:  # of plain text only the end can matter
            everything = everything[max(0, outside - width) :]
        found = []
        for row in rows:
            seen = [*everything, *(outside + np.flatnonzero(mask[row])).tolist()]
            seen.sort(key=self.positions.__getitem__)
            found.append(tuple(self.tokens[index] for index in seen[max(0, len(seen) - width) :]))
        return found


class _ContextLM:
    """A model whose logits depend on the last `width` tokens only."""

    name: str
    vocab_size: int
    max_length: int | None = None
    _width: int

    def new_cache(self) -> HistoryCache:
        """An empty cache."""
        return HistoryCache()

    def forward(
        self,
        tokens: Sequence[int],
        cache: Any,
        *,
        positions: Sequence[int] | None = None,
        mask: Any = None,
        last: int | None = None,
    ) -> torch.Tensor:
        """Logits (n, V), or of the `last` tokens only, in float64; see `CausalLM.forward`."""
        ids = list(tokens)
        count = len(ids)
        if count == 0:
            raise InputError("a pass needs at least one token")
        places = list(positions) if positions is not None else list(range(cache.length, cache.length + count))
        tree = None if mask is None else np.asarray(mask, dtype=bool)
        if len(places) != count or (tree is not None and (tree.shape[0] != count or tree.shape[1] < count)):
            raise InputError(
                f"{count} tokens need positions ({count},) and a mask ({count}, at least {count}); got "
                f"({len(places)},) and {None if tree is None else tree.shape}"
            )
        if tree is not None and tree.shape[1] > cache.length + count:
            raise InputError(f"the mask has {tree.shape[1]} columns for {cache.length + count} entries")
        cache.append(ids, places)
        wanted = count if last is None else min(last, count)
        rows = np.empty((wanted, self.vocab_size))
        for row, context in zip(rows, cache.contexts(count, wanted, self._width, tree), strict=True):
            self._write(context, row)
        found: torch.Tensor = require("torch").from_numpy(rows)
        return found

    def _write(self, context: tuple[int, ...], row: NDArray[np.float64]) -> None:
        """Write the logits after `context` (its last token at least) into `row` (V,)."""
        raise NotImplementedError


class TableLM(_ContextLM):
    """A bigram model by table: the logits after token i are row i of `logits` (V, V).

    Raises `InputError` for a table that is not square.
    """

    _width = 1

    def __init__(self, logits: Any, *, name: str = "table") -> None:
        table = np.asarray(logits, dtype=np.float64)
        if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size:
            raise InputError(f"a bigram table is (V, V); got shape {table.shape}")
        self.name = name
        self.vocab_size = int(table.shape[0])
        self._table = table

    @classmethod
    def of_successors(cls, successors: Sequence[int], *, name: str = "table") -> TableLM:
        """The model that says `successors[i]` after token i, with probability 1."""
        table = np.full((len(successors), len(successors)), -np.inf)
        table[np.arange(len(successors)), list(successors)] = 0.0
        return cls(table, name=name)

    def _write(self, context: tuple[int, ...], row: NDArray[np.float64]) -> None:
        row[:] = self._table[context[-1]]


class NGramLM(_ContextLM):
    """n-gram counts, interpolated down to single tokens after Witten and Bell (1991).

    p_n(w | h) = (c(h, w) + T(h)·p_{n−1}(w | h')) / (c(h) + T(h)), where T(h) is the number of different tokens
    seen after the context h, and h' is h without its oldest token; below all lies (c(w) + 1)/(c + V). Logits
    are log-probabilities, all of them finite.

    Args:
        order: the longest n-gram, its last token included: 3 looks at two tokens. At least 1.
        vocab_size: V.
    """

    def __init__(self, order: int = 3, *, vocab_size: int, name: str = "ngram") -> None:
        if order < 1:
            raise InputError(f"order must be at least 1, got {order}")
        if vocab_size < 1:
            raise InputError(f"vocab_size must be at least 1, got {vocab_size}")
        self.order = order
        self.vocab_size = vocab_size
        self.name = name
        self._width = max(1, order - 1)
        # Level m holds the contexts of m tokens. A context's key is (number of the one without its oldest
        # token)·V + its oldest token, so that one walks from the newest token back as far as counts reach.
        self._keys: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64) for _ in range(order - 1)]
        self._starts: list[NDArray[np.int64]] = [np.zeros(1, dtype=np.int64) for _ in range(order - 1)]
        self._tokens: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64) for _ in range(order - 1)]
        self._counts: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64) for _ in range(order - 1)]
        self._unigrams = np.zeros(vocab_size, dtype=np.int64)
        self._prepare()

    def fit(self, ids: Sequence[int] | NDArray[Any]) -> NGramLM:
        """Count the n-grams of one text of token ids (T,), in place of what was counted before.

        Raises `InputError` for an empty text or ids outside the vocabulary.
        """
        text = np.asarray(ids, dtype=np.int64)
        if text.ndim != 1 or not text.size:
            raise InputError(f"fit takes one text of token ids (T,), T at least 1; got shape {text.shape}")
        if text.min() < 0 or text.max() >= self.vocab_size:
            wrong = int(text.min() if text.min() < 0 else text.max())
            raise InputError(f"token {wrong} is outside the vocabulary (0 to {self.vocab_size - 1})")
        self._unigrams = np.bincount(text, minlength=self.vocab_size).astype(np.int64)
        context = np.zeros(
            len(text), dtype=np.int64
        )  # the number of each place's context, so far of no tokens
        for level in range(1, self.order):
            # Place i ≥ level has the context i − level, ..., i − 1; the one at `level` before it is its oldest.
            context = context[1:] * self.vocab_size + text[: max(0, len(text) - level)]
            keys, context = np.unique(context, return_inverse=True)
            pairs, counts = np.unique(context * self.vocab_size + text[level:], return_counts=True)
            owner, token = np.divmod(pairs, self.vocab_size)
            self._keys[level - 1] = keys
            self._starts[level - 1] = np.searchsorted(owner, np.arange(len(keys) + 1))
            self._tokens[level - 1] = token
            self._counts[level - 1] = counts
        self._prepare()
        return self

    def save(self, path: str | Path) -> None:
        """Write the counts to one `.npz` file, whole or not at all."""
        file = Path(path)
        beside = file.with_name(file.name + ".part")
        levels = zip(self._keys, self._starts, self._tokens, self._counts, strict=True)
        arrays: dict[str, Any] = {
            f"{what}_{level}": array
            for level, four in enumerate(levels)
            for what, array in zip(_ARRAYS, four, strict=True)
        }
        try:
            with beside.open("wb") as out:
                np.savez_compressed(
                    out,
                    header=np.array([_FORMAT, self.order, self.vocab_size]),
                    unigrams=self._unigrams,
                    **arrays,
                )
            beside.replace(file)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise OutputError(f"cannot write {file}: {error}") from error

    @classmethod
    def load(cls, path: str | Path, *, name: str | None = None) -> NGramLM:
        """What `save` wrote. Raises `NotFoundError`, or `InputError` for another kind of file; reads no pickles."""
        file = Path(path)
        if not file.is_file():
            raise NotFoundError(f"there is no file {file}")
        try:
            with np.load(file, allow_pickle=False) as arrays:
                version, order, vocab_size = arrays["header"].tolist()
                if version != _FORMAT:
                    raise InputError(
                        f"{file} has format {version}, this version reads {_FORMAT}; fit and save again"
                    )
                model = cls(order, vocab_size=vocab_size, name=name or file.stem)
                model._unigrams = arrays["unigrams"]
                for level in range(order - 1):
                    lists = (model._keys, model._starts, model._tokens, model._counts)
                    for what, where in zip(_ARRAYS, lists, strict=True):
                        where[level] = arrays[f"{what}_{level}"]
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{file} is not a file that NGramLM.save wrote ({error})") from error
        model._prepare()
        return model

    def _prepare(self) -> None:
        """From counts to what one step needs: lookups, and each context's share of the mass."""
        self._base = (self._unigrams + 1.0) / (self._unigrams.sum() + self.vocab_size)
        self._log_base = np.log(self._base)
        self._lookup = [dict(zip(keys.tolist(), range(len(keys)), strict=True)) for keys in self._keys]
        self._below: list[NDArray[np.float64]] = []  # T/(c + T): what is left to the shorter context
        self._shares: list[NDArray[np.float64]] = []  # c(h, w)/(c + T)
        for starts, counts in zip(self._starts, self._counts, strict=True):
            kinds = np.diff(starts)
            seen = np.add.reduceat(counts, starts[:-1]) if len(counts) else np.zeros(0, dtype=np.int64)
            self._below.append(kinds / (seen + kinds))
            self._shares.append(counts / np.repeat(seen + kinds, kinds))

    def _write(self, context: tuple[int, ...], row: NDArray[np.float64]) -> None:
        """Few tokens were seen after a context; all others are the base, scaled, so only those few take a log."""
        found: list[tuple[int, int]] = []
        number = 0
        for level, token in enumerate(reversed(context) if self.order > 1 else ()):
            longer = self._lookup[level].get(number * self.vocab_size + token)
            if longer is None:
                break
            number = longer
            found.append((level, number))
        weight = 1.0  # what the longer contexts left over
        seen: list[NDArray[np.int64]] = []
        p = np.zeros(self.vocab_size) if found else row
        for level, number in reversed(found):
            start, stop = self._starts[level][number : number + 2].tolist()
            tokens = self._tokens[level][start:stop]
            p[tokens] += weight * self._shares[level][start:stop]
            weight *= float(self._below[level][number])
            seen.append(tokens)
        np.add(self._log_base, math.log(weight), out=row)
        for tokens in seen:
            row[tokens] = np.log(p[tokens] + weight * self._base[tokens])
