"""Claim: a query that was worked on while it was typed is answered sooner, and never otherwise.

Treatment: a session with rules and a history, which is told each line but the last; the last line and the submission
come together. Control: plain DuckDB on the same file. Both answer the same texts in turns, once unmeasured and then
several times; the median counts. Beside it: no history, the history of other queries, a constant that is changed at
the last moment, and a typist who waits. An exact-result cache alone would never be hit: no text is submitted twice
before it is measured, and the session's own cache is off.

Templates of TPC-DS are the unit. Each seed draws other constants and takes every third query, so that all seeds
together take every query once.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from firsthand.claims import Gate, Measurement, Observation
from firsthand.query.speql.config import Config
from firsthand.query.speql.equality import difference
from firsthand.query.speql.history import HistoryCompleter
from firsthand.query.speql.opening import open
from firsthand.query.speql.scales import SEEDS, SIZES, Size
from firsthand.query.speql.session import Session
from firsthand.query.speql.trial import PlainDuckDB, Timed, Typing, in_turns, type_before
from firsthand.query.speql.workload import (
    reflowed,
    sales_file,
    sales_queries,
    tpcds_file,
    tpcds_queries,
    with_literals,
)

__all__ = ["SEEDS", "TIMED", "charts", "measure"]

TIMED = True
DRIFT = 1.25  # plain DuckDB's own time, second half of the submissions against the first
PAST = 500_000  # added to a seed, for the constants of the queries in the history


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """One seed's queries through every arm. With `null` plain DuckDB takes the sessions' place."""
    size = SIZES[scale]
    world = _world(size, seed)
    found = [_measured(world, size, seed, name, null) for name in world.chosen]
    observations = [one for query in found for one in query.observations]
    details = [query.about for query in found]
    return Measurement(
        observations=tuple(observations), gates=(_steady(details),), details={"queries": details}
    )


# --- what is typed ----------------------------------------------------------------------


@dataclass(frozen=True)
class _World:
    """Queries by name with this seed's constants, the same with others for the history, and which are measured."""

    path: Path
    texts: Mapping[str, str]
    past: Mapping[str, str]
    chosen: Sequence[str]


def _world(size: Size, seed: int) -> _World:
    if size.scale_factor is None:
        path, queries = sales_file(size.rows), sales_queries()
        chosen = list(queries)
    else:
        path = tpcds_file(size.scale_factor)
        queries = {f"q{number}": sql for number, sql in tpcds_queries().items()}
        chosen = [
            name for place, name in enumerate(queries) if place % SEEDS["laptop"] == seed % SEEDS["laptop"]
        ]

    def drawn(seed: int) -> dict[str, str]:
        return {name: reflowed(with_literals(sql, seed, path)) for name, sql in queries.items()}

    return _World(path, drawn(seed), drawn(PAST + seed), chosen)


def _edited(text: str, seed: int, path: Path) -> str | None:
    """The text with another constant in its last condition; None where there is no other."""
    for shift in range(1, 6):
        found = reflowed(with_literals(text, seed + shift * PAST, path, which="last"))
        if found != text:
            return found
    return None


# --- one query ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Query:
    """What was measured of one query, and what is told of it."""

    observations: tuple[Observation, ...]
    about: dict[str, Any]


def _measured(world: _World, size: Size, seed: int, name: str, null: bool) -> _Query:
    """Type a query into each session; submit it, and then the same with another constant."""
    text, edited = world.texts[name], _edited(world.texts[name], seed, world.path)
    pasts: dict[str, list[str]] = {"speql": list(world.past.values()), "rules": []}
    if list(world.texts).index(name) // SEEDS["laptop"] % size.every == 0:
        pasts["others"] = [sql for other, sql in world.past.items() if other != name]
    with ExitStack() as stack:
        plain = stack.enter_context(PlainDuckDB(world.path, size.threads))
        sessions: dict[str, Session] = {}
        typings: dict[str, Typing] = {}
        for arm, past in pasts.items():
            sessions[arm] = stack.enter_context(_session(world.path, size, past))
            typings[arm] = type_before(sessions[arm], text, last=size.last)
        if typings["speql"].late:  # else a typist who waits would have found the same
            sessions["ample"] = stack.enter_context(_session(world.path, size, pasts["speql"]))
            typings["ample"] = type_before(sessions["ample"], text, last=size.last, clock="ample")
        arms: dict[str, Callable[[str], Any]] = {
            arm: plain.submit if null else session.submit for arm, session in sessions.items()
        }

        def settle() -> None:
            for session in sessions.values():
                session.wait(60)

        found = in_turns({"plain": plain.submit, **arms}, text, size.repeats, settle=settle)
        changed: dict[str, Timed] = {}
        if edited is not None:
            two = {"plain": plain.submit, "speql": arms["speql"]}
            changed = in_turns(two, edited, size.repeats, settle=settle)
            # The other sessions answer it, too: to be compared, not to be timed.
            changed |= {arm: Timed((), submit(edited)) for arm, submit in arms.items() if arm not in two}
        differences = {
            label: difference(sql, timed["plain"].table, timed[arm].table, plain.submit)
            for sql, timed, prefix in ((text, found, ""), (edited or "", changed, "edited, "))
            for arm in timed
            if arm != "plain"
            for label in [prefix + arm]
        }
    observations = [*_speeds(found, changed), *_repairs(typings["speql"], null)]
    observations += [
        ("same-answer", "treatment", float(not said), label) for label, said in differences.items()
    ]
    about = {
        "query": name,
        "ms": {arm: list(timed.runs) for arm, timed in found.items()},
        "ms, edited": {arm: list(timed.runs) for arm, timed in changed.items() if timed.runs},
        "level": {arm: getattr(timed.answer, "level", None) for arm, timed in found.items()},
        "level, edited": {arm: getattr(timed.answer, "level", None) for arm, timed in changed.items()},
        "typing": {arm: asdict(typing) for arm, typing in typings.items()},
        "rows": found["plain"].table.num_rows,
        "differences": {label: said for label, said in differences.items() if said},
    }
    return _Query(
        tuple(
            Observation(
                clause=clause, arm=arm, seed=seed, item=f"{seed}-{name}{item and ', ' + item}", cluster=name,
                value=value, repeat="exact" if clause == "same-answer" else "timed",
            )
            for clause, arm, value, item in observations
        ),
        about,
    )  # fmt: skip


def _session(path: Path, size: Size, past: Sequence[str]) -> Session:
    """A session that keeps no answer, with a history of its own."""
    history = HistoryCompleter()
    config = Config(max_results=0, command_timeout_s=size.timeout_s)
    session = open(path, config=config, history=history, threads=size.threads)
    for sql in past:
        history.add(sql, session.schema)
    return session


def _speeds(
    found: Mapping[str, Timed], changed: Mapping[str, Timed]
) -> Iterator[tuple[str, str, float, str]]:
    """Answers a second by clause and arm."""

    def pair(
        clause: str, timed: Mapping[str, Timed], of: Mapping[str, str]
    ) -> Iterator[tuple[str, str, float, str]]:
        for arm, source in of.items():
            yield clause, arm, 1e3 / timed[source].ms, ""

    ample = "ample" if "ample" in found else "speql"
    yield from pair("speed", found, {"speql": "speql", "plain": "plain"})
    yield from pair("speed-ample", found, {"speql": ample, "plain": "plain"})
    if changed:
        yield from pair("speed-edited", changed, {"speql": "speql", "plain": "plain"})
    yield from pair("speed-history", found, {"history": "speql", "rules": "rules"})
    if "others" in found:
        yield from pair("speed-others", found, {"history of others": "others", "rules": "rules"})


def _repairs(typing: Typing, null: bool) -> Iterator[tuple[str, str, float, str]]:
    """Shares of the unfinished texts that are queries: repaired, and as they stand."""
    yield "repaired", "repaired", (typing.unchanged if null else typing.repaired) / typing.lines, ""
    yield "repaired", "as typed", typing.unchanged / typing.lines, ""


def _steady(details: Sequence[Mapping[str, Any]]) -> Gate:
    """Whether plain DuckDB took as long at the end of a query's turns as at their beginning."""
    drift = statistics.median(found["ms"]["plain"][-1] / found["ms"]["plain"][0] for found in details)
    return Gate(
        name="steady machine",
        passed=1 / DRIFT <= drift <= DRIFT,
        detail=f"plain DuckDB took {drift:.2f} times as long at the end; at most {DRIFT} is wanted",
        claims=(
            "faster",
            "faster-with-ample-time",
            "faster-after-a-late-change",
            "history-helps",
            "history-of-others-helps",
        ),
    )


# --- for the system's page ----------------------------------------------------------------------


def charts(details: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Latency by share of queries, and what each condition gains, over all seeds."""
    queries = [query for found in details for query in found["queries"]]

    def latencies(key: str, arm: str) -> list[float]:
        return sorted(statistics.median(query[key][arm]) for query in queries if arm in query[key])

    lines = {
        "plain DuckDB": latencies("ms", "plain"),
        "SpeQL": latencies("ms", "speql"),
        "SpeQL, a constant changed at the last moment": latencies("ms, edited", "speql"),
    }
    gains = {
        label: _gain(queries, key, arm, over)
        for label, key, arm, over in (
            ("SpeQL", "ms", "speql", "plain"),
            ("no history", "ms", "rules", "plain"),
            ("history of other queries", "ms", "others", "plain"),
            ("constant changed", "ms, edited", "speql", "plain"),
        )
    }
    return [
        {
            "kind": "line",
            "title": "Milliseconds from submission to answer, by share of the queries",
            "x_label": "share of queries that are answered within it",
            "y_label": "milliseconds",
            "log_y": True,
            "series": [
                {"name": name, "x": [(place + 1) / len(ms) for place in range(len(ms))], "y": ms}
                for name, ms in lines.items()
                if ms
            ],
        },
        {
            "kind": "bar",
            "title": "Times as fast as plain DuckDB, geometric mean over queries",
            "y_label": "times as fast",
            "series": [{"name": "times as fast", "x": list(gains), "y": list(gains.values())}],
        },
    ]


def _gain(queries: Sequence[Mapping[str, Any]], key: str, arm: str, over: str) -> float:
    """Geometric mean of the ratio of medians, over the queries that have both arms."""
    both = [query[key] for query in queries if arm in query[key]]
    return statistics.geometric_mean(statistics.median(ms[over]) / statistics.median(ms[arm]) for ms in both)
