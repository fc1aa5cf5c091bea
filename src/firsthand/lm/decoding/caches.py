"""Keys and values of a Hugging Face model: buffers that grow, go back, and keep the path that was accepted.

Knows what transformers' attention layers call (`update`) and what a decoder asks (`truncate`, `commit`,
`fork`). Every layer keeps all its keys and values, those with a sliding window too, because an entry that
has left a window comes back into it when the text is cut; the window is applied by what a pass is given to
look at (`mask`, `update`).

Entry i of committed text has position i. Entries of a tree have positions of their own, never above their
index, until `commit` moves the accepted ones up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from firsthand.errors import InputError

__all__ = ["FullCache", "seen_by_default"]

_FIRST = 256  # entries a buffer starts with


def seen_by_default(count: int) -> NDArray[np.bool_]:
    """Each token sees itself and those before it, bool (count, count)."""
    return np.tri(count, dtype=bool)


class FullCache:
    """All keys and values of one sequence: per layer two buffers (1, H_kv, capacity, D).

    `windows` has one entry a layer: the width of its sliding window, or None where it sees everything.
    """

    is_compileable = False  # asked by transformers

    def __init__(self, windows: Sequence[int | None]) -> None:
        self.windows = tuple(windows)
        self._length = 0
        self._keys: list[torch.Tensor | None] = [None] * len(self.windows)
        self._values: list[torch.Tensor | None] = [None] * len(self.windows)
        self._positions: NDArray[np.int64] = np.empty(_FIRST, dtype=np.int64)
        self._pending = 0  # entries of the pass that is under way
        self._starts: dict[int | None, int] = {}

    @property
    def length(self) -> int:
        """How many entries there are."""
        return self._length

    @property
    def positions(self) -> NDArray[np.int64]:
        """The entries' positions in the text (length,)."""
        return self._positions[: self._length]

    def keys(self, layer: int) -> torch.Tensor:
        """The keys of a layer (H_kv, length, D), rotated as they were read: a view, not to be written."""
        return self._view(self._keys, layer)

    def values(self, layer: int) -> torch.Tensor:
        """The values of a layer (H_kv, length, D): a view, not to be written."""
        return self._view(self._values, layer)

    def _view(self, buffers: list[torch.Tensor | None], layer: int) -> torch.Tensor:
        buffer = buffers[layer]
        if buffer is None:
            raise InputError("nothing has been read into this cache yet")
        return buffer[0, :, : self._length]

    @property
    def nbytes(self) -> int:
        """Bytes that the buffers take."""
        return sum(b.element_size() * b.nelement() for b in (*self._keys, *self._values) if b is not None)

    # --- what a decoder asks -------------------------------------------------------------------------

    def truncate(self, length: int) -> None:
        """Forget all entries from `length` on."""
        if length < 0:
            raise InputError(f"a cache cannot be cut to {length} entries")
        self._length = min(self._length, length)

    @contextmanager
    def looking_back(self, length: int) -> Iterator[None]:
        """Inside the block the cache ends at `length`; afterwards it is as it was.

        Within, at most one token may be read at a time, and is forgotten.
        """
        before = self._length
        if not 0 <= length < before:
            raise InputError(f"a cache of {before} entries cannot look back to {length}")
        saved = [
            (buffer, buffer[:, :, length].clone())
            for buffer in (*self._keys, *self._values)
            if buffer is not None
        ]
        self._length = length
        try:
            yield
        finally:
            self._length = before  # what was cut off is still there
            for buffer, entry in saved:
                buffer[:, :, length] = entry

    def commit(self, base: int, kept: Sequence[int]) -> None:
        """Of the entries from `base` on keep those at the indices `kept` (ascending), moved up to `base`.

        They take the positions base, base + 1, ...: a kept path is a piece of text. Raises `InputError`
        for indices that are not ascending entries from `base` on.
        """
        path = list(kept)
        if any(b <= a for a, b in zip([base - 1, *path], path, strict=False)) or (
            path and path[-1] >= self._length
        ):
            raise InputError(f"cannot keep entries {path} of {self._length} from {base} on")
        end = base + len(path)
        if path and path[-1] != end - 1:  # else they lie there already
            index = torch.tensor(path)
            for buffer in (*self._keys, *self._values):
                if buffer is not None:
                    buffer[:, :, base:end] = buffer[:, :, index.to(buffer.device)]
        self._positions[base:end] = np.arange(base, end)
        self._length = end

    def fork(self) -> FullCache:
        """An independent copy."""
        copy = FullCache(self.windows)
        copy._length = self._length
        copy._positions = self._positions.copy()
        copy._keys = [None if buffer is None else buffer.clone() for buffer in self._keys]
        copy._values = [None if buffer is None else buffer.clone() for buffer in self._values]
        return copy

    # --- what a pass asks ----------------------------------------------------------------------------

    def begin(self, positions: NDArray[np.int64]) -> None:
        """Make room for tokens at `positions` (n,), which the coming pass will read."""
        end = self._length + len(positions)
        if end > len(self._positions):
            self._positions = np.concatenate(
                [self._positions, np.empty(max(end, len(self._positions)), dtype=np.int64)]
            )
        self._positions[self._length : end] = positions
        self._pending = len(positions)
        first = int(positions.min())
        # An entry's position is never above its index: those before `first − window + 1` are out of sight.
        self._starts = {w: 0 if w is None else max(0, first - w + 1) for w in set(self.windows)}

    def mask(
        self, window: int | None, positions: NDArray[np.int64], tree: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_] | None:
        """What the tokens of the coming pass see in a layer of this window: bool (n, entries given), or None.

        The columns are what `update` returns for such a layer. `tree` is the caller's mask (n, m). None says
        that everything given is seen.
        """
        n, start = len(positions), self._starts[window]
        end = self._length + n
        if n == 1 and tree is None and (window is None or positions[0] == end - 1):
            return None
        seen = np.ones((n, end - start), dtype=bool)
        if tree is None:
            tree = seen_by_default(n)
        m = min(tree.shape[1], end - start)  # what lies before `start` is out of sight in any case
        seen[:, -m:] = tree[:, -m:]
        if window is not None:
            there = self._positions[start:end]
            seen &= positions[:, None] - there[None, :] < window
        return seen

    def entries(self, window: int | None) -> int:
        """How many entries `update` will give a layer of this window in the coming pass, its own included."""
        return self._length + self._pending - self._starts[window]

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Called by each attention layer: keep its new keys and values, give back all that it may look at."""
        start, end = self._starts[self.windows[layer]], self._length + keys.shape[2]
        found = []
        for buffers, new in ((self._keys, keys), (self._values, values)):
            buffer = buffers[layer]
            if buffer is None or buffer.shape[2] < end:
                buffer = buffers[layer] = self._grown(buffer, new, end)
            buffer[:, :, self._length : end] = new
            found.append(buffer[:, :, start:end])
        return found[0], found[1]

    def _grown(self, buffer: torch.Tensor | None, like: torch.Tensor, end: int) -> torch.Tensor:
        capacity = max(_FIRST, end + end // 2)
        larger = like.new_empty(1, like.shape[1], capacity, like.shape[3])
        if buffer is not None:
            larger[:, :, : self._length] = buffer[:, :, : self._length]
        return larger

    def finish(self) -> None:
        """The pass has ended: what it read is part of the cache."""
        self._length += self._pending
        self._pending = 0

    def drop(self) -> None:
        """The pass has ended; what it read is not kept, and written over by the next one."""
        self._pending = 0

    def get_seq_length(self, *_: Any) -> int:
        """Asked by transformers where it is not told positions."""
        return self._length
