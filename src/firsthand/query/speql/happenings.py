"""What a session tells: snapshots, events, the graph of what is made ahead, and answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from firsthand.query.speql.plan import Vertex

__all__ = ["Dag", "Event", "Node", "Result", "Snapshot", "now_ms"]


def now_ms() -> float:
    """Milliseconds of a steady clock."""
    return time.perf_counter() * 1e3


@dataclass(frozen=True)
class Snapshot:
    """What the editor held at a moment.

    Attributes:
        number: grows with time.
        text: all of it.
        cursor: in code points.
        at: milliseconds of a steady clock.
    """

    number: int
    text: str
    cursor: int
    at: float


@dataclass(frozen=True)
class Event:
    """Something that happened, for whoever watches.

    Attributes:
        kind: "repaired", "repair_failed", "planned", "preview", "preview_failed", "view_created", "view_refused",
            "view_dropped", "idle", "stale", "submitted", "submit_failed", "closed".
        snapshot: number of the snapshot that it belongs to, 0 where it belongs to none.
        at: milliseconds of a steady clock.
        data: what there is to say: plain values, and a `Repair`, `Preview` or `Result` under its own name.
    """

    kind: str
    snapshot: int
    at: float
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A vertex and how far it is.

    Attributes:
        vertex: what is to be made.
        state: "waiting", "running", "done", "refused" or "failed".
        reason: why it was refused or failed.
        view: the id of the view that it became.
        milliseconds: that it took.
    """

    vertex: Vertex
    state: str
    reason: str = ""
    view: int | None = None
    milliseconds: float = 0.0


@dataclass(frozen=True)
class Dag:
    """Vertices of the newest planned snapshot, in the order of making; a vertex names its parents by key."""

    snapshot: int
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Result:
    """The answer to a submission.

    Attributes:
        table: a `pyarrow.Table` with the query's own names and types.
        level: 0 from a result that was there, 1 from speculative tables, 2 from tables that speculation had read
            before, None where nothing had been done ahead.
        used: ids of the views that were read.
        sql: what ran.
        plan_ms: until it was known what to run.
        exec_ms: running it.
        made_ms: milliseconds that the views used had cost before.
        gap_ms: from the last edit to the submission; None without one.
        direct_ms_estimate: what a direct run would have taken, by a line through this session's direct runs; None
            before there are three, and where nothing is known of the query.
        note: what did not go as it should; "" else.
    """

    table: Any
    level: int | None
    used: tuple[int, ...]
    sql: str
    plan_ms: float
    exec_ms: float
    made_ms: float = 0.0
    gap_ms: float | None = None
    direct_ms_estimate: float | None = None
    note: str = ""

    @property
    def total_ms(self) -> float:
        """From submission to answer."""
        return self.plan_ms + self.exec_ms

    @property
    def saved_ms_estimate(self) -> float | None:
        """What this run saved if the estimate of a direct one is right."""
        return None if self.direct_ms_estimate is None else self.direct_ms_estimate - self.total_ms
