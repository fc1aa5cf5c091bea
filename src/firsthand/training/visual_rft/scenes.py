"""Pictures that a generator draws: one grey shape on a grey ground, in two domains, with the shape's box.

24 by 24 pixels, grey from 0 to 1. In the base domain shapes are bright on dark and large; in the new one the ground is
grey, shapes stand out less, are smaller and lie under more noise. NumPy alone.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHAPES", "SIDE", "Scenes", "draw_scenes"]

SIDE = 24
SHAPES = ("square", "disc", "cross", "triangle")
Domain = Literal["base", "new"]


class Scenes(NamedTuple):
    """Pictures (N, 24, 24), boxes in pixels (N, 4) as x1, y1, x2, y2, and which shape each shows (N,)."""

    pictures: NDArray[np.float32]
    boxes: NDArray[np.int64]
    shapes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pictures)

    def part(self, chosen: NDArray[np.int64] | slice) -> Scenes:
        """Some of them."""
        return Scenes(self.pictures[chosen], self.boxes[chosen], self.shapes[chosen])


class _Look(NamedTuple):
    ground: tuple[float, float]
    shape: tuple[float, float]
    noise: float
    sides: tuple[int, int]


_LOOKS = {
    "base": _Look((0.0, 0.25), (0.7, 1.0), 0.05, (6, 12)),
    "new": _Look((0.3, 0.5), (0.6, 0.8), 0.12, (4, 9)),
}


def draw_scenes(count: int, domain: Domain, *, seed: int, stream: int = 0) -> Scenes:
    """`count` pictures of a domain; streams of one seed are independent."""
    look = _LOOKS[domain]
    rng = np.random.default_rng([seed, stream, domain == "new"])
    sides = rng.integers(look.sides[0], look.sides[1] + 1, count)
    left = rng.integers(0, SIDE - sides + 1)
    top = rng.integers(0, SIDE - sides + 1)
    shapes = rng.integers(0, len(SHAPES), count)
    ground, bright = rng.uniform(*look.ground, count), rng.uniform(*look.shape, count)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    # Pixel centres within the box, from -1 to 1.
    x = (2 * (across[None] + 0.5 - left[:, None, None]) / sides[:, None, None]) - 1
    y = (2 * (down[None] + 0.5 - top[:, None, None]) / sides[:, None, None]) - 1
    inside = (abs(x) < 1) & (abs(y) < 1)
    forms = np.stack(
        [
            inside,
            x**2 + y**2 < 1,
            inside & ((abs(x) < 0.4) | (abs(y) < 0.4)),
            inside & (abs(x) < (y + 1) / 2 + 1e-9),
        ]
    )
    drawn = forms[shapes, np.arange(count)]
    pictures = np.where(drawn, bright[:, None, None], ground[:, None, None])
    pictures = pictures + rng.normal(0, look.noise, pictures.shape)
    boxes = np.stack([left, top, left + sides, top + sides], axis=1)
    return Scenes(pictures.astype(np.float32), boxes, shapes)
