"""A simulated league with leaked problems: does a ranking still tell who is able?

20 models of ability θ and 256 problems of difficulty b, both N(0, 1.2²). A model solves a problem with probability
σ(1.5·(θ − b)), and its runtime is log-normal (σ = 0.3), a little shorter for able models. A share f of the problems
leaks, and a share g of the models, chosen whatever their ability, then solves all of these. Rankings are compared with
θ by Kendall's τ_b.

One seed is one league. Its cells (f, g) share everything but the leak, and leaks of larger f and g contain those of
smaller ones: differences between cells owe nothing to other draws. Simulated: it speaks of rankings, not of models.

Knows no attempts one by one: all cells of a seed are arrays, and `attempts_of` spells one cell out for `score`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError
from firsthand.evaluation.codearena.scores.attempts import Attempt
from firsthand.evaluation.codearena.scores.ranks import Floats, kendall_tau_b

__all__ = [
    "CELLS",
    "CLEAN",
    "RANKINGS",
    "Cell",
    "Field",
    "attempts_of",
    "draw_field",
    "leak_study",
]

RANKINGS = ("dp", "pass_rate", "labels", "cs", "share")
BPS = 5.0
SPREAD = 1.2  # of abilities and difficulties
SLOPE = 1.5
RUNTIME_SIGMA = 0.3
QUICKER = 0.1  # log runtime for each unit of ability: what an able model saves
LABEL_NOISE = 1.0  # of the difficulty that a human label sees
LABEL_POINTS = (3.0, 4.0, 5.0)  # easy, medium, hard: thirds of the problems


@dataclass(frozen=True, order=True)
class Cell:
    """A leak: which share of the problems is `leaked`, f, and which share of the models is `knowing`, g."""

    leaked: float
    knowing: float

    def __post_init__(self) -> None:
        if not (0 <= self.leaked <= 1 and 0 <= self.knowing <= 1):
            raise InputError(
                f"shares of a leak must be from 0 to 1, got {self.leaked!r} and {self.knowing!r}"
            )


CLEAN = Cell(0.0, 0.0)
CELLS = (
    CLEAN,
    *(Cell(f, g) for f, g in product((0.10, 0.25, 0.50), (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 1.0))),
)


@dataclass(frozen=True, eq=False)
class Field:
    """What one seed draws: a league without a leak, and in which order problems leak and models learn of it."""

    ability: Floats  # (models,)
    difficulty: Floats  # (problems,)
    solved: NDArray[np.bool_]  # (models, problems) by ability
    runtime_ms: Floats  # (models, problems)
    label: Floats  # (problems,) points by a noisy human label
    leaks_at: Floats  # (problems,) a problem leaks where f is above this
    order: NDArray[np.int64]  # (models,) place in the line of those who learn of it

    def solved_in(self, cells: Sequence[Cell]) -> NDArray[np.bool_]:
        """(cells, models, problems) who solves what with each leak."""
        leaked = self.leaks_at < np.array([[cell.leaked] for cell in cells])
        count = np.array([[round(cell.knowing * self.ability.size)] for cell in cells])
        knowing = self.order < count
        return np.asarray(self.solved | (knowing[:, :, None] & leaked[:, None, :]))


def draw_field(seed: int, *, models: int = 20, problems: int = 256) -> Field:
    """The league of one seed.

    Raises:
        InputError: fewer than 2 models or 1 problem.
    """
    if models < 2 or problems < 1:
        raise InputError(f"a league has at least 2 models and 1 problem, got {models} and {problems}")
    random = np.random.default_rng(seed)
    ability = random.normal(0, SPREAD, models)
    difficulty = random.normal(0, SPREAD, problems)
    chance = 1 / (1 + np.exp(-SLOPE * (ability[:, None] - difficulty)))
    solved = random.random((models, problems)) < chance
    usual = random.normal(4, 0.5, problems) - QUICKER * ability[:, None]  # ln ms
    runtime_ms = np.exp(usual + RUNTIME_SIGMA * random.normal(size=(models, problems)))
    seen = difficulty + LABEL_NOISE * random.normal(size=problems)
    third = np.argsort(np.argsort(seen)) * len(LABEL_POINTS) // problems
    return Field(
        ability=ability,
        difficulty=difficulty,
        solved=solved,
        runtime_ms=runtime_ms,
        label=np.array(LABEL_POINTS)[third],
        leaks_at=random.random(problems),
        order=random.permutation(models),
    )


def scores_in(field: Field, cells: Sequence[Cell]) -> dict[str, Floats]:
    """(cells, models) scores by each of `RANKINGS`, every model with one attempt at every problem.

    dp: CS + ES by the formula; share: the same with CS = BPS / solvers; cs: CS by the formula alone; pass_rate;
    labels: the sum of the human labels' points of the solved problems.
    """
    solved = field.solved_in(cells)
    models = field.ability.size
    solvers = solved.sum(axis=1, keepdims=True)  # (cells, 1, problems)
    challenge = BPS * (1 - solvers / models)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Models from the slowest: how many of the solvers have come, the model itself among them.
        slowest = np.argsort(-field.runtime_ms, axis=0, kind="stable")
        come = np.cumsum(np.take_along_axis(solved, slowest[None], axis=1), axis=1)
        back = np.argsort(slowest, axis=0)
        efficiency = np.take_along_axis(come, back[None], axis=1) / solvers
        share = BPS / solvers

    def total(points: Floats) -> Floats:
        return np.asarray(np.where(solved, points, 0.0).sum(axis=2))

    return {
        "dp": total(challenge + efficiency),
        "pass_rate": solved.mean(axis=2),
        "labels": total(field.label),
        "cs": total(challenge),
        "share": total(share + efficiency),
    }


def leak_study(
    seed: int, cells: Sequence[Cell] = CELLS, *, models: int = 20, problems: int = 256
) -> dict[Cell, dict[str, float]]:
    """Kendall's τ_b of each of `RANKINGS` with the true ability, in each cell of one seed's league.

    Args:
        seed: of the league.
        cells: leaks, each once.
        models: at least 2.
        problems: at least 1.

    Raises:
        InputError: no cell, a size that is too small.
    """
    if not cells:
        raise InputError("there is no cell to study: name at least one leak, such as Cell(0.5, 0.75)")
    field = draw_field(seed, models=models, problems=problems)
    taus = {name: kendall_tau_b(found, field.ability) for name, found in scores_in(field, cells).items()}
    return {cell: {name: float(taus[name][row]) for name in RANKINGS} for row, cell in enumerate(cells)}


def attempts_of(field: Field, cell: Cell) -> tuple[list[Attempt], Mapping[str, float]]:
    """One cell as attempts and points, for `score`; models are called m00…, problems p000…"""
    (solved,) = field.solved_in([cell])
    models, problems = solved.shape
    attempts = [
        Attempt(
            f"m{model:02}", f"p{problem:03}", bool(solved[model, problem]), field.runtime_ms[model, problem]
        )
        for model in range(models)
        for problem in range(problems)
    ]
    return attempts, {f"p{problem:03}": BPS for problem in range(problems)}
