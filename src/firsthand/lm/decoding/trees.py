"""Candidate continuations as a tree, checked by one pass: one draw a position, so the text is plain decoding's.

Knows tokens, parents and what a node may see; knows nothing of who proposes candidates. Equal prefixes are
one node, so a position of a path is never drawn twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.lm.decoding.protocol import CausalLM
from firsthand.lm.decoding.sampling import Sampler

if TYPE_CHECKING:
    import torch

__all__ = ["Checked", "TokenTree", "check_tree"]


class TokenTree:
    """A trie of candidate tokens below a root: the last emitted token, which the model has not read yet.

    Node 0 is the root at depth 0; a node's parent always comes before it.
    """

    def __init__(self, root: int) -> None:
        self.tokens: list[int] = [root]
        self.parents: list[int] = [-1]
        self.depths: list[int] = [0]
        self.children: list[dict[int, int]] = [{}]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_chain(self) -> bool:
        """Whether no node has more than one child."""
        return self.depths[-1] == len(self.tokens) - 1

    def child(self, node: int, token: int) -> int:
        """The node for `token` after `node`, made where it is not there yet."""
        found = self.children[node].get(token)
        if found is None:
            found = len(self.tokens)
            self.tokens.append(token)
            self.parents.append(node)
            self.depths.append(self.depths[node] + 1)
            self.children.append({})
            self.children[node][token] = found
        return found

    def add_path(self, tokens: Sequence[int], node: int = 0) -> int:
        """Lay `tokens` one after another below `node`; returns the last node."""
        for token in tokens:
            node = self.child(node, token)
        return node

    def mask(self) -> NDArray[np.bool_]:
        """What each node sees: itself and its ancestors, bool (nodes, nodes)."""
        size = len(self.tokens)
        rows, parents = np.arange(size), np.array(self.parents)
        seen = np.zeros((size, size), dtype=bool)
        seen[rows, rows] = True
        above = parents
        for _ in range(max(self.depths)):  # one generation up at a time
            below = above >= 0
            seen[rows[below], above[below]] = True
            above = np.where(below, parents[above], -1)
        return seen


@dataclass(frozen=True)
class Checked:
    """A checked tree: the accepted nodes in order, the tokens that are now certain, one more than these."""

    path: tuple[int, ...]
    tokens: tuple[int, ...]


def check_tree(
    model: CausalLM,
    cache: Any,
    tree: TokenTree,
    ids: list[int],
    sampler: Sampler,
    *,
    mask: NDArray[np.bool_] | None = None,
    logits: torch.Tensor | None = None,
) -> Checked:
    """Check `tree` with one pass of `model`, keep the path it agrees with, and append the new tokens to `ids`.

    `ids` is the text so far; its last token is the tree's root, and `cache` holds all before it, or only the
    first part of it: the rest is read along. At each node of the path one token is drawn as plain decoding
    would: from that node's logits, with the penalty's window over text and path, and the position's own
    uniform number. Where the tree has a node for it the path goes on; the first that has none is the last new
    token. Only the path's nodes (not the whole tree) are filtered and drawn. Afterwards `cache` holds all of
    `ids` but its last token.

    `mask` is `tree.mask()` where the caller has it already; `logits` (nodes, V) those of a pass that the
    caller has made.
    """
    base = len(ids) - 1
    held = cache.length if logits is None else cache.length - len(tree)
    if tree.tokens[0] != ids[-1] or held > base or (logits is not None and held != base):
        raise InputError(
            f"the cache holds {held} tokens, the text has {len(ids)} and the tree starts with token {tree.tokens[0]}: "
            "they do not belong together"
        )
    if logits is None:
        unread = ids[held:base]
        if tree.is_chain:
            logits = model.forward([*unread, *tree.tokens], cache, last=len(tree))
        else:
            if unread:
                model.forward(unread, cache, last=1)
            logits = model.forward(
                tree.tokens,
                cache,
                positions=[base + depth for depth in tree.depths],
                mask=tree.mask() if mask is None else mask,  # type: ignore[arg-type]
            )
    node, path, tokens = 0, [], []
    while True:
        token = sampler.draw(logits[node], ids)
        tokens.append(token)
        ids.append(token)
        following = tree.children[node].get(token)
        if following is None:
            break
        node = following
        path.append(node)
    cache.commit(base, [base, *(base + node for node in path)])
    return Checked(tuple(path), tuple(tokens))
