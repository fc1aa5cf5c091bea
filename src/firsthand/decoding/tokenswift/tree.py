"""The draft tree: the Cartesian product of each position's best guesses, and frequent 4-grams beside it.

Knows shapes and how guesses become a `TokenTree`; knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.lm.decoding import TokenTree

__all__ = ["TreeSpec", "build_tree", "draft_tree"]


@dataclass(frozen=True)
class TreeSpec:
    """A tree's shape; node 0 is the root, which is not a guess.

    Attributes:
        parents: of each node (N,); the root's is −1.
        depths: of each node (N,).
        ranks: which of its position's guesses each node is (N,); the root's is 0.
        mask: what each node sees, itself and its ancestors, bool (N, N).
        paths: the nodes from the root (left out) to each leaf.
    """

    parents: tuple[int, ...]
    depths: tuple[int, ...]
    ranks: tuple[int, ...]
    mask: NDArray[np.bool_]
    paths: tuple[tuple[int, ...], ...]

    @property
    def nodes(self) -> int:
        """Nodes without the root."""
        return len(self.parents) - 1


def build_tree(branching: Sequence[int]) -> TreeSpec:
    """The tree in which every node at depth i has `branching[i]` children, in order of depth.

    (1, 3, 3, 3), the paper's, has 40 nodes, 27 leaves and, with the root, a mask of 183 ones. Raises
    `InputError` where a number is below 1 or there is none.
    """
    return _built(tuple(int(count) for count in branching))


@lru_cache(maxsize=64)
def _built(branching: tuple[int, ...]) -> TreeSpec:
    if not branching or min(branching) < 1:
        raise InputError(f"branching is one number of guesses a position, each at least 1; got {branching}")
    parents, depths, ranks = [-1], [0], [0]
    layer = [0]
    for depth, count in enumerate(branching, 1):
        following = []
        for parent in layer:
            for rank in range(count):
                following.append(len(parents))
                parents.append(parent)
                depths.append(depth)
                ranks.append(rank)
        layer = following
    size = len(parents)
    mask = np.eye(size, dtype=bool)
    for node in range(1, size):
        mask[node] |= mask[parents[node]]
    mask.setflags(write=False)
    paths = []
    for leaf in layer:
        path = [leaf]
        while parents[path[0]] > 0:
            path.insert(0, parents[path[0]])
        paths.append(tuple(path))
    return TreeSpec(tuple(parents), tuple(depths), tuple(ranks), mask, tuple(paths))


def draft_tree(
    root: int, guesses: Sequence[Sequence[int]], again: Sequence[Sequence[int]]
) -> tuple[TokenTree, int]:
    """The tree below `root`, and how many of its nodes (root included) are guesses; the rest are re-used n-grams.

    `guesses[i]` are the tokens tried at position i, distinct; their product is the tree. `again` are paths
    from the root, (c, x, y, z) each; where they begin like a path that is there they share its nodes.
    """
    tree = TokenTree(root)
    layer = [0]
    for tokens in guesses:
        layer = [tree.child(node, token) for node in layer for token in tokens]
    guessed = len(tree)
    for path in again:
        tree.add_path(path)
    return tree, guessed
