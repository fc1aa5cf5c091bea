"""The formulas as one would first write them, and random leagues to hold the fast ones against."""

from __future__ import annotations

from hypothesis import strategies as st

from firsthand.evaluation.codearena.scores.attempts import Attempt

PROBLEMS = {"P1": 5.0, "P2": 3.0, "P3": 4.0, "P4": 1.5}
LANGUAGES = ("c", "python")


def league(
    *, users: int = 5, most: int = 30, whole: bool = False, hosts: bool = True
) -> st.SearchStrategy[list[Attempt]]:
    """Attempts of up to `users` users, the last two of them people, in any order, some of them not counted.

    With `hosts` they were timed on machines of several classes.
    """
    names = [f"u{number}" for number in range(users)]

    def attempt(drawn: tuple[str, str, bool, int, str, bool, str | None]) -> Attempt:
        user, problem, solved, runtime, language, counted, host_class = drawn
        kind = "human" if user in names[-2:] else "llm"
        time = float(runtime) if solved or runtime % 2 else None
        return Attempt(user, problem, solved, time, language, None, counted or whole, kind, host_class)

    one = st.tuples(
        st.sampled_from(names),
        st.sampled_from(sorted(PROBLEMS)),
        st.booleans(),
        st.integers(0, 12),
        st.sampled_from(LANGUAGES),
        st.sampled_from([True, True, True, False]),
        st.sampled_from(["fast", "fast", "slow", None] if hosts else [None]),
    )
    return st.lists(one.map(attempt), max_size=most)


def slow_score(
    attempts: list[Attempt],
    problems: dict[str, float],
    *,
    challenge: str = "formula",
    ac_unit: str = "user",
    population: object = "llm",
    es_weight: float = 1.0,
    es_scope: str = "problem",
    es_tolerance: float = 0.0,
    leave_out: tuple[str, ...] = (),
) -> dict[str, tuple[float, float, float, int, int, float]]:
    """dp, cs, es, solved, attempted and pass rate by user."""

    def belongs(attempt: Attempt) -> bool:
        if isinstance(population, str):
            return population in ("all", attempt.kind)
        return attempt.user in population  # type: ignore[operator]

    def where(attempt: Attempt) -> tuple[str, ...]:
        host_class = attempt.host_class or "~"  # those that do not say come last
        return (host_class,) if es_scope == "problem" else (attempt.language, host_class)

    problems = {name: points for name, points in problems.items() if name not in leave_out}
    attempts = [
        a
        for a in attempts
        if a.counted and belongs(a) and a.user not in leave_out and a.problem not in leave_out
    ]
    board = {
        user: [0.0, 0.0, 0, 0]
        for user in {a.user for a in attempts} | (set() if isinstance(population, str) else set(population))  # type: ignore[arg-type,call-overload]
    }
    for problem, bps in problems.items():
        here = [a for a in attempts if a.problem == problem]
        if not here:
            continue
        for user in {a.user for a in here}:
            board[user][3] += 1
        best = {}
        for user in {a.user for a in here if a.solved}:
            accepted = [a for a in here if a.user == user and a.solved]
            best[user] = min(accepted, key=lambda a: (a.runtime_ms, *where(a)))
        if ac_unit == "user":
            ac = len(best) / len({a.user for a in here})
        else:
            ac = sum(a.solved for a in here) / len(here)
        for user, mine in best.items():
            others = [other for other in best.values() if where(other) == where(mine)]
            at_least = [
                other for other in others if mine.runtime_ms <= other.runtime_ms * (1 + es_tolerance / 100)
            ]
            board[user][0] += bps * (1 - ac) if challenge == "formula" else bps / len(best)
            board[user][1] += len(at_least) / len(others)
            board[user][2] += 1
    return {
        user: (cs + es_weight * es, cs, es, solved, tried, solved / len(problems) if problems else 0.0)
        for user, (cs, es, solved, tried) in board.items()
    }
