"""Figures of a server and its arena as Prometheus reads them. Knows their names and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from firsthand.evaluation.codearena.store.tables import delivery, submission

if TYPE_CHECKING:
    from firsthand.evaluation.codearena.service.access import Service

__all__ = ["metrics_text"]

Sample = tuple[Mapping[str, str], float]


def metrics_text(service: Service) -> str:
    """All figures, in the text format."""
    arena = service.arena
    load = arena.queue.load()
    with arena.database.read() as connection:
        states = connection.execute(
            select(submission.c.state, submission.c.verdict, func.count()).group_by(
                submission.c.state, submission.c.verdict
            )
        ).all()
        deliveries = connection.execute(select(func.count()).select_from(delivery)).scalar_one()
    judges = arena.judges.seen()
    age = 0.0 if load.oldest is None else max(0.0, (arena.clock() - load.oldest).total_seconds())
    gate = service.gate
    answers = sorted(gate.answered.items()) if gate is not None else []
    metrics: list[tuple[str, str, str, Iterable[Sample]]] = [
        (
            "submissions",
            "gauge",
            "Submissions by state and verdict.",
            [({"state": row[0], "verdict": row[1] or ""}, row[2]) for row in states],
        ),
        ("jobs_waiting", "gauge", "Jobs that no judge has.", [({}, load.waiting)]),
        ("jobs_leased", "gauge", "Jobs that judges are at.", [({}, load.leased)]),
        ("oldest_job_seconds", "gauge", "How long the oldest waiting job has waited.", [({}, age)]),
        (
            "judges",
            "gauge",
            "Judges heard of lately, and whether they can judge.",
            [
                ({"able": "yes"}, sum(not judge.fault for judge in judges)),
                ({"able": "no"}, sum(bool(judge.fault) for judge in judges)),
            ],
        ),
        ("deliveries_waiting", "gauge", "Webhook deliveries to be sent.", [({}, deliveries)]),
        (
            "http_responses_total",
            "counter",
            "Answers of this process by status.",
            [({"status": str(status)}, count) for status, count in answers],
        ),
    ]
    lines = []
    for name, kind, words, samples in metrics:
        full = f"firsthand_codearena_{name}"
        lines += [f"# HELP {full} {words}", f"# TYPE {full} {kind}"]
        for labels, value in samples:
            inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
            lines.append(f"{full}{{{inside}}} {value:g}" if inside else f"{full} {value:g}")
    return "\n".join(lines) + "\n"
