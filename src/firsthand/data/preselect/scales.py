"""How large the experiment is at each scale: counts, shapes, passes. Nothing here computes anything.

`check` runs an experiment of these sizes, `dry_run` says what one would cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["CHARACTERS_A_TOKEN", "DEVICE", "FRACTION", "SEEDS", "SIZES", "Shape", "Size"]

FRACTION = 0.1  # of the pool, by characters
# Equal characters make unequal tokens (hex dumps most): steps follow characters, at this many a token.
CHARACTERS_A_TOKEN = 2.5


class Shape(NamedTuple):
    """A Llama's width, layers and heads; its vocabulary comes with the size."""

    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Size:
    """How large everything is at one scale; counts are documents unless said otherwise."""

    chars: int  # a document is cut to this many
    pool: int
    seed_sample: int
    references: int  # reference models, each on a mix of its own
    reference_documents: int
    reference_shapes: tuple[Shape, ...]  # dealt to the reference models in turns
    reference_passes: float
    nested: tuple[int, ...]  # what each nested reference model has read of the one mix
    nested_shape: Shape
    student_shape: Shape
    student_passes: float
    benchmark: int  # held-out prose, once for abilities and once more for the report
    ability_items: int  # cloze items for abilities
    report_items: int  # cloze items for the report: more, for a student's accuracy is one number a seed
    vocabulary: int
    context: int  # tokens
    batch: int  # small at laptop scale: with few tokens, many small steps teach more
    learning_rate: float
    packages: tuple[str, ...]
    limit: int | None  # of texts a kind
    bucket: int  # of the scorer
    min_per_class: int
    least_ability: float  # what the best reference model must reach for its ability to mean anything
    batch_tokens: int = 4_096  # scored at once

    def steps(self, characters: float) -> int:
        """How many steps of training read `characters`."""
        return max(4, round(characters / CHARACTERS_A_TOKEN / (self.batch * self.context)))

    @property
    def student_characters(self) -> float:
        """What every student reads, over all its passes."""
        return self.student_passes * FRACTION * self.pool * self.chars


SEEDS = {"smoke": 2, "laptop": 6, "gpu": 3}
DEVICE = {"gpu": ("cuda", "bfloat16")}

SIZES = {
    "smoke": Size(
        chars=200, pool=200, seed_sample=100, references=4, reference_documents=32,
        reference_shapes=(Shape(32, 1, 2),), reference_passes=1, nested=(8, 16, 32), nested_shape=Shape(32, 1, 2),
        student_shape=Shape(32, 1, 2), student_passes=1, benchmark=32, ability_items=24,
        report_items=24, vocabulary=320, context=64,
        batch=8, learning_rate=3e-3, packages=("stdlib",), limit=1_500, bucket=2_000, min_per_class=5,
        least_ability=0.0,
    ),
    # Nine reference models: with six, ability goes along with the share of code by chance in one seed of seven, and
    # code then passes for what makes models able.
    "laptop": Size(
        chars=600, pool=4_000, seed_sample=800, references=9, reference_documents=400,
        reference_shapes=(Shape(64, 2, 2),), reference_passes=3, nested=(50, 100, 200, 400),
        nested_shape=Shape(64, 2, 2), student_shape=Shape(96, 2, 3), student_passes=2.5, benchmark=200,
        ability_items=500, report_items=1_000, vocabulary=1_024, context=256, batch=2, learning_rate=3e-3,
        packages=("stdlib", "numpy", "scipy", "sklearn", "torch"), limit=None, bucket=200_000, min_per_class=50,
        least_ability=0.30,
    ),
    # Tiny models from 5 to 60 M weights, students of 30 M. The tenth of the largest pool that this corpus fills
    # is a million tokens: students read it ten times over, 8 M tokens, for more passes teach them to recite.
    "gpu": Size(
        chars=2_000, pool=20_000, seed_sample=4_000, references=12, reference_documents=4_000,
        reference_shapes=(
            Shape(256, 5, 4), Shape(384, 6, 6), Shape(512, 6, 8), Shape(512, 8, 8), Shape(640, 8, 10),
            Shape(704, 9, 11),
        ),
        reference_passes=2, nested=(250, 500, 1_000, 2_000, 4_000), nested_shape=Shape(512, 8, 8),
        student_shape=Shape(512, 9, 8), student_passes=5, benchmark=500, ability_items=2_000,
        report_items=3_000, vocabulary=4_096,
        context=512, batch=32, learning_rate=1e-3,
        # What firsthand[data] installs in any case, and writes docstrings of its own.
        packages=(
            "stdlib", "numpy", "scipy", "sklearn", "torch", "sympy", "networkx", "pandas", "matplotlib",
        ),
        limit=None, bucket=200_000, min_per_class=50, least_ability=0.30, batch_tokens=65_536,
    ),
}  # fmt: skip
