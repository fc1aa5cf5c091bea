"""What the catalogue prints: rows, the README's table, the lines of Python that use a room.

Functions from rooms and their recorded verdicts to plain data and text. Knows nothing of terminals (`verbs`)
and measures nothing: public names are read from a room's source, verdicts from its records.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firsthand.catalogue.digest import Digest, match_rooms
from firsthand.catalogue.rooms import DOMAINS, Room, all_rooms
from firsthand.claims.model import ClaimResult, ClauseResult, Record
from firsthand.claims.record import read_record
from firsthand.errors import InputError, NotFoundError

__all__ = [
    "digest_rows",
    "first_sentence",
    "latest_verdicts",
    "list_rows",
    "public_names",
    "python_lines",
    "room_record",
    "show_data",
    "systems_table_markdown",
]

# Newest evidence is read from these, in this order; smoke gives no verdict, and paper is rarely run.
_RECORDED_SCALES = ("laptop", "gpu")


def list_rows(rooms: Sequence[Room] | None = None) -> list[dict[str, str]]:
    """One row a room, in listing order, for `firsthand list`."""
    return [
        {
            "slug": room.slug,
            "name": room.card.name,
            "title": room.card.title,
            "arxiv": room.card.arxiv,
            "domain": room.domain,
            "status": room.status,
            "summary": room.card.summary,
        }
        for room in _or_all(rooms)
    ]


def show_data(room: Room) -> dict[str, Any]:
    """Everything `firsthand show` prints about one room: its card, its verdicts and how to import it."""
    return {
        **room.card.model_dump(mode="json"),
        "status": room.status,
        "origin": room.origin,
        "package": room.package,
        "verdicts": latest_verdicts(room),
        "python": python_lines(room),
    }


def digest_rows(digest: Digest, rooms: Sequence[Room] | None = None) -> list[dict[str, Any]]:
    """One row an entry of a digest, with the slug and status of its room (None where there is none)."""
    return [
        {
            "line": entry.line,
            "title": entry.title,
            "link": entry.link,
            "arxiv": entry.arxiv,
            "votes": entry.votes,
            "authors": list(entry.authors),
            "whats_new": entry.whats_new,
            "technical_details": entry.technical_details,
            "performance_highlights": entry.performance_highlights,
            "room": room.slug if room else None,
            "status": room.status if room else None,
        }
        for entry, room in match_rooms(digest, rooms)
    ]


def systems_table_markdown(rooms: Sequence[Room] | None = None) -> str:
    """The README's table of systems, ready rooms with the verdict on their primary claim at laptop scale."""
    lines = ["| system | what it gives | status | primary claim, laptop |", "|---|---|---|---|"]
    for domain, members in _by_domain(_or_all(rooms)):
        lines.append(f"| **{_cell(domain)}** | | | |")
        for room in members:
            arxiv = f"[{room.card.arxiv}](https://arxiv.org/abs/{room.card.arxiv})"
            verdict = _primary_verdict(room)
            gives = first_sentence(room.card.summary)
            name = f"{_cell(room.card.name)} (`{room.slug}`, {arxiv})"
            lines.append(f"| {name} | {_cell(gives)} | {room.status} | {_cell(verdict)} |")
    return "\n".join(lines) + "\n"


def python_lines(room: Room) -> str:
    """The import of a room's public names, or an empty text where it has none yet."""
    names = public_names(room.folder / "__init__.py")
    if not names:
        return ""
    line = f"from {room.package} import {', '.join(names)}"
    if len(line) <= 88:
        return line
    return "\n".join([f"from {room.package} import (", *(f"    {name}," for name in names), ")"])


def public_names(source: Path) -> tuple[str, ...]:
    """The names in a module's `__all__`, read without importing it; empty where there is none.

    Follows `__all__ = [...]`, `__all__: ... = (...)` and `__all__ += [...]` at the top level. Raises
    `InputError` if the file is not Python, or if `__all__` is anything but a literal list of names.
    """
    if not source.is_file():
        return ()
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{source}: cannot be read as Python: {error}") from error
    names: list[str] = []
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                names = _literal_names(source, value)
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                names = _literal_names(source, value)
            case ast.AugAssign(target=ast.Name(id="__all__"), value=value):
                names += _literal_names(source, value)
    return tuple(names)


def latest_verdicts(room: Room) -> list[dict[str, Any]]:
    """The recorded verdicts of every claim, laptop first, then GPU; exploratory runs do not count.

    A claim that the card has and no record judges is listed with the reason it gives, or as not run.
    """
    rows: list[dict[str, Any]] = []
    judged: set[str] = set()
    for scale in _RECORDED_SCALES:
        record = room_record(room, scale)
        if record is None or record.exploratory:
            continue
        stale = room.is_stale(record)
        for result in record.results:
            judged.add(result.claim.id)
            rows.append(
                {
                    "claim": result.claim.id,
                    "scale": scale,
                    "verdict": _verdict_word(result),
                    "stale": stale,
                    "evidence": result.claim.evidence,
                    "intervals": [_interval(clause) for clause in result.clauses],
                    "reason": result.reason,
                    "started": record.started,
                }
            )
    for claim in room.card.claims:
        if claim.id not in judged:
            verdict = "not run" if claim.measured else "not measurable here"
            rows.append(
                {
                    "claim": claim.id,
                    "scale": "",
                    "verdict": verdict,
                    "stale": False,
                    "evidence": claim.evidence,
                    "intervals": [],
                    "reason": claim.reason,
                    "started": "",
                }
            )
    return rows


def room_record(room: Room, scale: str) -> Record | None:
    """The record of one scale, or None if there is none; raises `InputError` if it cannot be read."""
    try:
        return read_record(room.record_path(scale))
    except NotFoundError:
        return None


def first_sentence(text: str) -> str:
    """The first sentence: up to a full stop that a capital letter follows."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text, maxsplit=1)[0]


def _or_all(rooms: Sequence[Room] | None) -> Sequence[Room]:
    return all_rooms() if rooms is None else rooms


def _by_domain(rooms: Sequence[Room]) -> list[tuple[str, list[Room]]]:
    order = [domain for domain, _ in DOMAINS]
    order += sorted({room.domain for room in rooms} - set(order))
    groups = [(domain, [room for room in rooms if room.domain == domain]) for domain in order]
    return [group for group in groups if group[1]]


def _primary_verdict(room: Room) -> str:
    record = room_record(room, "laptop")
    if record is None or record.exploratory:
        return ""
    for result in record.results:
        if result.claim.primary:
            interval = _interval(result.clauses[0]) if len(result.clauses) == 1 else ""
            # Evidence that is not real is named wherever its verdict is shown; so is an outdated source.
            words = [_verdict_word(result)]
            words += [result.claim.evidence] if result.claim.evidence != "real" else []
            words += ["stale"] if room.is_stale(record) else []
            return ", ".join(words) + (f" {interval}" if interval else "")
    return ""


def _verdict_word(result: ClaimResult) -> str:
    if result.verdict is not None:
        return result.verdict
    return "ran" if result.claim.measured else "not measurable here"


def _interval(clause: ClauseResult) -> str:
    """One clause's estimate and interval with its unit: "0.276 [0.24, 0.31] bits"."""
    interval = clause.interval
    if interval is None:
        return ""
    numbers = f"{interval.estimate:.3g} [{interval.low:.3g}, {interval.high:.3g}]"
    unit = "x" if clause.clause.ratio else clause.clause.unit
    return f"{numbers} {unit}".strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _literal_names(source: Path, value: ast.expr) -> list[str]:
    if isinstance(value, ast.List | ast.Tuple):
        names = [item.value for item in value.elts if isinstance(item, ast.Constant)]
        if len(names) == len(value.elts) and all(isinstance(name, str) for name in names):
            return [str(name) for name in names]
    raise InputError(f"{source}: line {value.lineno}: __all__ is not a literal list of names")
