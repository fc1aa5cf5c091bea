"""Four habits: the scorer and the generator beside reasoning-gym's, and how fast traces are counted.

reasoning-gym (Apache-2.0) is the peer that has both; without it its rows are left out. Each side scores the same
answers, and agrees on them; each makes as many problems of the same size and ranges. A search of its own (all
expressions, one by one) stands beside `solve`.
"""

from __future__ import annotations

import itertools
import time
from fractions import Fraction
from typing import Any

import numpy as np
from benchmarks import peers
from benchmarks.measure import Row, alternate, at_least, missing_row, row, timed_row


def run(quick: bool = False) -> dict[str, Any]:
    rows = [count_row(quick), solve_row(quick)]
    try:
        gym = peers.import_peer("reasoning-gym")
    except peers.PeerNotBuiltError as error:
        missing = missing_row("scoring and generating", "reasoning-gym", str(error))
        return {"rows": [missing, *rows], "details": {}}
    return {
        "rows": [*gym_rows(gym, quick), *rows],
        "details": {"reasoning-gym": peers.versions("reasoning-gym")},
    }


def gym_rows(gym: Any, quick: bool) -> list[Row]:
    from firsthand.training.four_habits import Problem, countdown, generate, score

    count = 20 if quick else 300
    settings = {
        "min_numbers": 3, "max_numbers": 4, "min_value": 1, "max_value": 50, "min_target": 10, "max_target": 100,
    }  # fmt: skip

    def theirs() -> Any:
        dataset = gym.create_dataset("countdown", size=count, seed=0, **settings)
        return [dataset[n] for n in range(count)]

    def ours() -> Any:
        countdown._values.cache_clear()  # what one round found out is no help to the next
        return generate(count, sizes=(3, 4), number_range=(1, 50), target_range=(10, 100), seed=0)

    entries = theirs()
    dataset = gym.create_dataset("countdown", size=count, seed=0, **settings)
    problems = [Problem(tuple(e["metadata"]["numbers"]), int(e["metadata"]["target"])) for e in entries]
    right = [e["metadata"]["expression"] for e in entries]
    answers = [
        text if n % 2 else " + ".join(map(str, p.numbers))
        for n, (text, p) in enumerate(zip(right, problems, strict=True))
    ]

    def by_us() -> list[bool]:
        return [score(f"<answer>{a}</answer>", p).correct for a, p in zip(answers, problems, strict=True)]

    def by_them() -> list[bool]:
        return [dataset.score_answer(a, e) == 1.0 for a, e in zip(answers, entries, strict=True)]

    rounds = 1 if quick else 3
    return [
        timed_row(
            f"scoring {count} answers", "score", "reasoning-gym", alternate(by_us, by_them, rounds),
            target=at_least(1.0), equal=by_us() == by_them(),
        ),
        timed_row(
            f"{count} problems with a solution", "generate", "reasoning-gym", alternate(ours, theirs, rounds),
            target=at_least(1.0), equal=None,
        ),
    ]  # fmt: skip


def count_row(quick: bool) -> Row:
    from firsthand.training.four_habits import count_rules, generate, make_priming

    traces = [
        example.think for example in make_priming(generate(20 if quick else 400, seed=1), "all_strategies")
    ]
    started = time.process_time()
    rounds = 1 if quick else 20
    for _ in range(rounds):
        for trace in traces:
            count_rules(trace)
    a_minute = 60 * rounds * len(traces) / (time.process_time() - started)
    words = float(np.mean([len(trace.split()) for trace in traces]))
    return row(
        f"traces of {words:.0f} words counted by rules, a minute on one core",
        {"label": "count_rules", "text": f"{a_minute:,.0f}"},
        {"label": "target", "text": "100,000"},
        a_minute / 100_000,
        target=at_least(1.0),
        equal=None,
        note="in place of a peer: the sheet's figure",
    )


def _by_hand(numbers: tuple[int, ...], target: int) -> bool:
    """Every expression of the numbers, one by one."""
    if len(numbers) == 1:
        return numbers[0] == target
    for one, other in itertools.permutations(range(len(numbers)), 2):
        a, b = Fraction(numbers[one]), Fraction(numbers[other])
        rest = [n for place, n in enumerate(numbers) if place not in (one, other)]
        for value in (a + b, a - b, a * b, a / b if b else None):
            if value is not None and _by_hand((*rest, value), target):  # type: ignore[arg-type]
                return True
    return False


def solve_row(quick: bool) -> Row:
    from firsthand.training.four_habits import Problem, countdown, solve

    rng = np.random.default_rng(0)
    problems = [
        Problem(tuple(int(n) for n in rng.integers(1, 50, 4)), int(rng.integers(10, 100)))
        for _ in range(3 if quick else 30)
    ]

    def ours() -> list[bool]:
        countdown._values.cache_clear()
        return [solve(problem) is not None for problem in problems]

    def by_hand() -> list[bool]:
        return [_by_hand(problem.numbers, problem.target) for problem in problems]

    return timed_row(
        f"{len(problems)} problems of four numbers, solved or shown to have no solution", "solve",
        "every expression one by one", alternate(ours, by_hand, 1), target=None, equal=ours() == by_hand(),
    )  # fmt: skip
