"""A query typed line by line into a session, and its submission timed beside plain DuckDB.

The typing is the paper's protocol (§5.2) made stricter: the last line and the submission come together, so that the
whole text is never worked on ahead. A person's pauses are not slept through where the work of a line is done before.
Knows sessions and clocks; knows nothing of claims.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from firsthand.query.speql.happenings import Event, Result
from firsthand.query.speql.session import Session
from firsthand.query.speql.traces import human_ms, typed

__all__ = ["PlainDuckDB", "Timed", "Typing", "in_turns", "type_before"]


@dataclass(frozen=True)
class Typing:
    """What a session did while a text was typed.

    Attributes:
        lines: that were told, each with all lines before it; the last line of the text is not among them.
        repaired: of these, how many became a query.
        unchanged: of these, how many were one as they stood.
        late: of these, how many were still worked on when the next line came.
        tables: that were made.
        made_ms: milliseconds that these took.
        seconds: that all of it took, pauses left out.
    """

    lines: int
    repaired: int
    unchanged: int
    late: int
    tables: int
    made_ms: float
    seconds: float


def type_before(
    session: Session,
    text: str,
    *,
    last: int = 20,
    clock: Literal["human", "ample"] = "human",
    patience_s: float = 120.0,
) -> Typing:
    """Type all lines of a text but the last one, and stop where the submission would come.

    Args:
        session: that is told of each line.
        text: the query.
        last: the lines that are typed one by one; those before them stand there at once.
        clock: "human" gives a line's work the time in which the next line is typed, 5 characters a second and a second
            a line; "ample" gives it all the time it takes.
        patience_s: seconds that the "ample" clock waits at most.
    """
    shown = typed(text, last=last)
    found: Counter[str] = Counter()
    made: list[float] = []

    def hear(event: Event) -> None:
        found[event.kind] += 1
        if event.kind == "view_created":
            made.append(event.data["milliseconds"])
        elif event.kind == "repaired":
            found["unchanged"] += not event.data["repair"].edits

    start = time.perf_counter()
    end = session.listen(hear)
    late = 0
    try:
        for now, then in itertools.pairwise(shown):
            session.edit(now)
            patience = human_ms(now, then) / 1e3 if clock == "human" else patience_s
            late += not session.wait(patience)
        if late:
            session.cancel()  # what is not there yet comes too late
            session.wait(patience_s)
    finally:
        end()
    return Typing(
        len(shown) - 1,
        found["repaired"],
        found["unchanged"],
        late,
        found["view_created"],
        sum(made),
        time.perf_counter() - start,
    )


class PlainDuckDB:
    """The same file without anything of ours: what a submission is compared with."""

    def __init__(self, path: str | Path, threads: int) -> None:
        import duckdb

        self._connection = duckdb.connect(str(path), read_only=True, config={"threads": threads})

    def __enter__(self) -> PlainDuckDB:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def runs(self, sql: str) -> bool:
        """Whether a text is a query by itself."""
        import duckdb

        try:
            self._connection.execute(f"EXPLAIN {sql}")
        except duckdb.Error:
            return False
        return True

    def submit(self, sql: str) -> Any:
        """The answer, as an Arrow table."""
        return self._connection.execute(sql).to_arrow_table()


@dataclass(frozen=True)
class Timed:
    """Submissions of one text in one arm.

    Attributes:
        runs: milliseconds from submission to answer, one by one.
        answer: the last one: a table, or a `Result`.
    """

    runs: tuple[float, ...]
    answer: Any

    @property
    def ms(self) -> float:
        """The median."""
        return statistics.median(self.runs)

    @property
    def table(self) -> Any:
        """The rows."""
        return self.answer.table if isinstance(self.answer, Result) else self.answer


def in_turns(
    arms: Mapping[str, Callable[[str], Any]],
    sql: str,
    repeats: int = 3,
    *,
    settle: Callable[[], object] = lambda: None,
) -> dict[str, Timed]:
    """Submit a text in each arm, once unmeasured and then `repeats` times; the arms take turns, A B B A.

    `settle` is called before each submission, so that no arm pays for what another has left to be done.
    """
    times: dict[str, list[float]] = {name: [] for name in arms}
    answers: dict[str, Any] = {}
    order: Sequence[str] = list(arms)
    for turn in range(repeats + 1):
        for name in order:
            settle()
            start = time.perf_counter()
            answers[name] = arms[name](sql)
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start))
        order = order[::-1]
    return {name: Timed(tuple(times[name]), answers[name]) for name in arms}
