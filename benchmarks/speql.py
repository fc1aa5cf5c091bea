"""SpeQL beside plain DuckDB and beside an exact-result cache, in one long session; and what a person would notice.

Somebody types the 99 queries of TPC-DS one after another into one session, at a person's speed (pauses are not slept
through where the work of a line is done before). Each is submitted, submitted again, and submitted with another
constant in its last condition. Then: what repair and preview take, whether a keystroke ever waits, how soon a query
that runs can be cancelled, and what all of it holds in memory.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, at_least, at_most, row


def run(quick: bool = False) -> dict[str, Any]:
    from firsthand.query.speql.workload import (
        reflowed,
        sales_file,
        sales_queries,
        tpcds_file,
        tpcds_queries,
    )

    path = sales_file(200_000) if quick else tpcds_file(1.0)
    found = sales_queries() if quick else {f"q{number}": sql for number, sql in tpcds_queries().items()}
    queries = {name: reflowed(sql) for name, sql in found.items()}
    rows, details = long_session(path, queries)
    rows += [keystroke_row(path, queries), cancel_row(path, quick)]
    return {"rows": rows, "details": details}


class ExactCache:
    """Plain DuckDB, and every answer kept for the same text again."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain
        self._answers: dict[str, Any] = {}

    def submit(self, sql: str) -> Any:
        if sql not in self._answers:
            self._answers[sql] = self._plain.submit(sql)
        return self._answers[sql]


def long_session(path: Path, queries: dict[str, str]) -> tuple[list[Row], dict[str, Any]]:
    """All queries in one session."""
    from firsthand.query import speql
    from firsthand.query.speql.equality import difference
    from firsthand.query.speql.traces import human_ms, typed
    from firsthand.query.speql.trial import PlainDuckDB, type_before
    from firsthand.query.speql.workload import with_literals

    edits = {name: with_literals(text, 1, path, which="last") for name, text in queries.items()}
    seconds: dict[str, dict[str, list[float]]] = {}
    typed_ms = sum(
        human_ms(*pair)
        for text in queries.values()
        for pair in zip(typed(text), typed(text)[1:], strict=False)
    )
    watch = Watch()
    differences: list[str] = []
    with ExitStack() as stack:
        plain = stack.enter_context(PlainDuckDB(path, threads=1))
        cache = ExactCache(plain)
        session = stack.enter_context(speql.open(path, config=speql.Config(command_timeout_s=2.0), threads=1))
        session.listen(watch.hear)
        for name, text in queries.items():
            watch.before(session)
            typing = type_before(session, text)
            arms = {"plain": plain.submit, "cache": cache.submit, "speql": session.submit}
            plain.submit(text)
            taken: dict[str, list[float]] = defaultdict(list)
            for step, sql in enumerate((text, text, edits[name])):
                if step == 2:
                    session.edit(edits[name])
                    session.wait(human_ms(text, edits[name]) / 1e3 + 1)
                for arm, submit in arms.items():
                    if arm == "plain" or step != 1:
                        session.wait(30)
                    start = time.perf_counter()
                    answer = submit(sql)
                    taken[arm].append(time.perf_counter() - start)
                    if arm == "plain":
                        direct = answer
                    elif arm == "speql":
                        said = difference(sql, direct, answer.table, plain.submit)
                        differences += [f"{name}: {said}"] if said else []
            seconds[name] = {**taken, "made": [typing.made_ms / 1e3]}
    return _long_rows(seconds, watch, typed_ms / 1e3, differences), {
        "milliseconds by query: submitted, again, with another constant": {
            name: {arm: [round(1e3 * one, 2) for one in several] for arm, several in taken.items()}
            for name, taken in seconds.items()
        },
        "seconds that a person would have typed": typed_ms / 1e3,
        "differences": differences,
    }


class Watch:
    """What a session tells of itself while it is used."""

    def __init__(self) -> None:
        self.repair: list[float] = []
        self.preview: list[float] = []
        self.bytes = 0.0
        self.resident: list[float] = []
        self._edited: dict[int, float] = {}

    def hear(self, event: Any) -> None:
        """Note an event of a session."""
        if event.kind == "repaired":
            self.repair.append(event.data["milliseconds"])
            self._edited[event.snapshot] = event.at - event.data["milliseconds"]
        elif event.kind == "preview" and event.snapshot in self._edited:
            self.preview.append(event.at - self._edited.pop(event.snapshot))
        elif event.kind == "view_created":
            self.bytes += event.data["bytes"]

    def before(self, session: Any) -> None:
        """Note what the process holds, and what the tables made ahead take together."""
        self.resident.append(resident_mib())
        self.held = max(getattr(self, "held", 0.0), sum(view.bytes for view in session.views()))


def resident_mib() -> float:
    """Of this process, now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _long_rows(
    seconds: dict[str, dict[str, list[float]]], watch: Watch, typed_s: float, differences: list[str]
) -> list[Row]:
    def ratio(step: int, over: str) -> float:
        return statistics.geometric_mean(one[over][step] / one["speql"][step] for one in seconds.values())

    def p(arm: str, step: int, share: float) -> float:
        return _quantile([one[arm][step] for one in seconds.values()], share)

    rows = []
    for share, floor, goal in ((0.5, 2.0, 5.0), (0.9, 1.2, 2.0)):
        ours, theirs = p("speql", 0, share), p("plain", 0, share)
        rows.append(
            row(
                f"submitted, {share:.0%} of {len(seconds)} queries within",
                {"label": "SpeQL", "text": f"{1e3 * ours:.1f} ms"},
                {"label": "plain DuckDB", "text": f"{1e3 * theirs:.1f} ms"},
                theirs / ours, target=at_least(goal), equal=not differences,
                note=f"wall-clock; floor {floor:g}; the last line and the submission come together",
            )
        )  # fmt: skip
    slowest = min(seconds, key=lambda name: seconds[name]["plain"][0] / seconds[name]["speql"][0])
    least = seconds[slowest]["plain"][0] / seconds[slowest]["speql"][0]
    rows.append(
        row(
            f"submitted, the query that gains least ({slowest})",
            {"label": "SpeQL", "text": f"{1e3 * seconds[slowest]['speql'][0]:.1f} ms"},
            {"label": "plain DuckDB", "text": f"{1e3 * seconds[slowest]['plain'][0]:.1f} ms"},
            least, target=at_least(1 / 1.05), equal=None, note="wall-clock, each once",
        )
    )  # fmt: skip
    for step, what in enumerate(("submitted", "submitted again", "another constant typed, then submitted")):
        for over, label in (("plain", "plain DuckDB"), ("cache", "exact-result cache")):
            rows.append(
                row(
                    f"{what}: SpeQL and {label}",
                    {"label": "SpeQL", "text": f"{1e3 * p('speql', step, 0.5):.2f} ms"},
                    {"label": label, "text": f"{1e3 * p(over, step, 0.5):.2f} ms"},
                    ratio(step, over), target=None, equal=None,
                    note="medians; the ratio is the geometric mean over queries, wall-clock",
                )
            )  # fmt: skip
    made = sum(one["made"][0] for one in seconds.values())
    direct = sum(one["plain"][0] for one in seconds.values())
    rows.append(
        row(
            "tables made ahead of a submission",
            {"label": "making them", "text": f"{made:.1f} s"},
            {"label": "running the queries once", "text": f"{direct:.1f} s"},
            made / direct, target=None, equal=None, note="making / running, all queries together; the paper: 2.02",
        )
    )  # fmt: skip
    rows += [
        _limit_row("repair of a snapshot, median", statistics.median(watch.repair), 30),
        _limit_row("repair of a snapshot, 90 %", _quantile(watch.repair, 0.9), 150),
        _limit_row("preview after the snapshot came, median", statistics.median(watch.preview), 300),
        _limit_row("preview after the snapshot came, 90 %", _quantile(watch.preview, 0.9), 600),
    ]
    hours = typed_s / 3600
    rows.append(
        row(
            f"tables held at most, {hours:.1f} hours of typing",
            {"label": "held", "text": f"{watch.held / 2**20:.0f} MiB"},
            {"label": "budget", "text": "1024 MiB"},
            watch.held / 2**30, target=at_most(1), equal=None,
            note=f"{watch.bytes / 2**20:.0f} MiB were made in all; the process held {watch.resident[0]:.0f} MiB at the "
            f"first query, {max(watch.resident):.0f} at most and {watch.resident[-1]:.0f} at the last",
        )
    )  # fmt: skip
    return rows


def _quantile(values: list[float], share: float) -> float:
    return float(statistics.quantiles(values, n=100, method="inclusive")[round(100 * share) - 1])


def _limit_row(what: str, milliseconds: float, limit: float) -> Row:
    return row(
        what,
        {"label": "measured", "text": f"{milliseconds:.1f} ms"},
        {"label": "limit", "text": f"{limit:g} ms"},
        milliseconds / limit, target=at_most(1), equal=None, note="measured / limit, wall-clock",
    )  # fmt: skip


def keystroke_row(path: Path, queries: dict[str, str]) -> Row:
    """The longest that `edit` kept whoever types, while tables were made all the time."""
    from firsthand.query import speql

    text = max(queries.values(), key=len)[-600:] if len(queries) < 10 else queries["q4"][:600]
    longest = []
    with speql.open(path, threads=1) as session:
        for place in range(1, len(text)):
            start = time.perf_counter()
            session.edit(text[:place])
            longest.append(1e3 * (time.perf_counter() - start))
            time.sleep(0.005)
    return _limit_row(
        f"the longest of {len(longest)} keystrokes, 200 a second, tables being made", max(longest), 50
    )


def cancel_row(path: Path, quick: bool) -> Row:
    """From `cancel` to the end of the query that ran, 90 % of tries."""
    from firsthand.query import speql
    from firsthand.query.speql.errors import QueryInterrupted

    taken = []
    sql = "SELECT count(*) AS n FROM range(100000) a(i), range(100000) b(j) WHERE (i * j) % 7 = 3"
    with speql.open(path, config=speql.Config(race=False), threads=1) as session:
        for _ in range(3 if quick else 20):
            ended: list[float] = []

            def wait(ended: list[float] = ended) -> None:
                try:
                    session.submit(sql)
                except QueryInterrupted:
                    ended.append(time.perf_counter())

            thread = threading.Thread(target=wait)
            thread.start()
            time.sleep(0.2)
            start = time.perf_counter()
            session.cancel()
            thread.join()
            taken.append(1e3 * (ended[0] - start))
    return _limit_row(f"cancelled, 90 % of {len(taken)} tries within", _quantile(taken, 0.9), 50)
