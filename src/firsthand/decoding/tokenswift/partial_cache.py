"""The part of the key-value cache that a draft pass reads: few keys, chosen again now and then (section 3.2).

Knows which keys to keep; the keys themselves come from the full cache. A full-attention layer reads
B keys and values of its own: the first S of the text, those that the query of the last accepted token scored
highest, and, written over the lowest-scored of these, everything that came since. A layer with a sliding
window reads the newest min(window, B) entries of the full cache, which for B ≥ window is all that it ever
sees. As long as the text has no more than B entries the draft reads all of them.

What the draft pass itself adds is never kept: it is written behind the last entry and written over by the
next pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.lm.decoding.caches import FullCache

__all__ = ["PartialKVCache", "group_scores", "selected"]


def group_scores(query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Scores (H_kv, n) of keys (H_kv, n, D): Σ over the query heads (H, D) of a key head's group of q·k.

    A raw dot product of the rotated query and keys; nothing is scaled and there is no softmax.
    """
    heads, width = keys.shape[0], keys.shape[2]
    summed = query.reshape(heads, -1, width).sum(dim=1)
    return torch.einsum("hd,hnd->hn", summed, keys)


def selected(scores: torch.Tensor, budget: int, sink: int) -> torch.Tensor:
    """The keys to keep (H_kv, budget) by score (H_kv, n): the first `sink`, then the best of the rest in order."""
    best = scores[:, sink:].topk(budget - sink, dim=1, sorted=True).indices + sink
    first = torch.arange(sink, device=scores.device).expand(scores.shape[0], -1)
    return torch.cat([first, best], dim=1)


class PartialKVCache:
    """What draft passes read of `full`, at most `budget` keys a layer and key head.

    Args:
        full: the whole cache, of which this is the part.
        budget: B, slots of a full-attention layer.
        sink: S, how many first tokens are always kept.

    Raises `InputError` where `budget <= sink` or `sink < 0`.
    """

    is_compileable = False  # asked by transformers

    def __init__(self, full: FullCache, *, budget: int = 4096, sink: int = 16) -> None:
        if sink < 0 or budget <= sink:
            raise InputError(
                f"kv_budget must exceed kv_sink, and that be at least 0; got {budget} and {sink}"
            )
        self.full, self.budget, self.sink = full, budget, sink
        self.chosen_at: int | None = None  # n_sel: the full cache's length when keys were chosen
        self.selections = 0
        self._upto = 0  # entries of the full cache that are in: all of the chosen ones and what came since
        self._keys: dict[int, torch.Tensor] = {}
        self._values: dict[int, torch.Tensor] = {}

    @property
    def length(self) -> int:
        """The text's length so far: what the drafted token comes after."""
        return self.full.length

    @property
    def nbytes(self) -> int:
        """Bytes that the kept keys and values take; nothing before the text exceeds the budget."""
        return sum(b.element_size() * b.nelement() for b in (*self._keys.values(), *self._values.values()))

    def start(self, length: int) -> int:
        """The first slot written over when the text has `length` entries: B − (length − n_sel)."""
        return self.budget - (length - (self.chosen_at or 0))

    def due(self, length: int) -> bool:
        """Whether keys must be chosen (again) once the text has `length` entries."""
        if None not in self.full.windows or length <= self.budget:
            return False
        return self.chosen_at is None or self.start(length) < self.sink

    def select(self, queries: Sequence[torch.Tensor]) -> None:
        """Choose keys by `queries`, one (H, D) a layer: those of the last accepted token."""
        length = self.full.length
        for layer, window in enumerate(self.full.windows):
            if window is not None:
                continue
            keys, values = self.full.keys(layer), self.full.values(layer)
            index = selected(group_scores(queries[layer], keys), self.budget, self.sink)
            heads = torch.arange(keys.shape[0], device=keys.device)[:, None]
            if layer not in self._keys:  # one slot more than the budget: the draft pass's own
                shape = (1, keys.shape[0], self.budget + 1, keys.shape[2])
                self._keys[layer] = keys.new_empty(shape)
                self._values[layer] = values.new_empty(*shape[:3], values.shape[2])
            self._keys[layer][0, :, : self.budget] = keys[heads, index]
            self._values[layer][0, :, : self.budget] = values[heads, index]
        self.chosen_at = self._upto = length
        self.selections += 1

    def append(self) -> None:
        """Take over what the full cache has read since, over the chosen keys of lowest score.

        Which slots are written is the paper's; their order among themselves is not, because attention does not
        look at it and a key is copied once this way.
        """
        if self.chosen_at is None:
            return
        length = self.full.length
        count = length - self._upto
        if count < 1:
            return
        first = self.start(length)
        if first < self.sink:
            raise InputError("the part of the cache is full: choose its keys again before going on")
        for layer in self._keys:
            for mine, whole in ((self._keys, self.full.keys), (self._values, self.full.values)):
                mine[layer][0, :, first : first + count] = whole(layer)[:, self._upto : length]
        self._upto = length

    # --- what a pass asks ----------------------------------------------------------------------------

    def begin(self, positions: NDArray[np.int64]) -> None:
        """A draft pass of one token follows."""
        if len(positions) != 1:
            raise InputError(f"a draft pass reads one token, got {len(positions)}")
        if self.chosen_at is None and self.due(self.full.length):
            raise InputError("no keys have been chosen yet: call select with the last token's queries")
        self.append()
        self.full.begin(positions)

    def mask(self, window: int | None, positions: NDArray[np.int64], tree: Any) -> None:
        """All that `update` gives is seen."""

    def entries(self, window: int | None) -> int:
        """How many entries `update` will give a layer of this window, the drafted token's included."""
        whole = self.full.entries(window)
        if window is None:
            return self.budget + 1 if self.chosen_at is not None else whole
        return min(whole, self.budget + 1)

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Called by each attention layer: the part's keys and values, and the drafted token's own."""
        window = self.full.windows[layer]
        if window is None and self.chosen_at is not None:
            mine = self._keys[layer], self._values[layer]
            mine[0][:, :, -1:], mine[1][:, :, -1:] = keys, values
            return mine
        found = self.full.update(keys, values, layer)
        newest = self.entries(window)
        return found[0][:, :, -newest:], found[1][:, :, -newest:]

    def finish(self) -> None:
        """The pass has ended; nothing of it is kept."""
        self.full.drop()

    def get_seq_length(self, *_: Any) -> int:
        """Asked by transformers where it is not told positions."""
        return self.full.length
