"""`firsthand report`: recorded verdicts and fresh runs on one static page."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from firsthand.catalogue.rooms import all_rooms
from firsthand.claims.board import BoardEntry, SystemLine, write_board
from firsthand.claims.model import Record
from firsthand.claims.record import find_records, read_record
from firsthand.commands.check import NOT_RUN, read_not_run
from firsthand.errors import InputError

__all__ = ["report_command"]


def report_command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUNS…", help="Folders of `firsthand check --out`, or record files."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("board"),
) -> None:
    """Write the board: every recorded verdict, with the runs named here beside them."""
    rooms = {room.slug: room for room in all_rooms()}
    found: dict[tuple[str, str], Record] = {}
    for room in rooms.values():
        for scale in ("laptop", "gpu", "paper"):
            path = room.record_path(scale)
            if path.exists():
                found[room.slug, scale] = read_record(path)
    recorded = set(found)
    not_run: dict[str, str] = {}
    for folder in runs or []:
        for path in find_records(folder):
            if path.name == NOT_RUN:
                not_run.update(read_not_run(path))
                continue
            record = read_record(path)
            if record.room not in rooms:
                raise InputError(f"{path}: a record of {record.room!r}, which is no room here")
            if not record.exploratory:
                found[record.room, record.scale] = record
    entries = [
        BoardEntry(record, stale=rooms[slug].is_stale(record), fresh=(slug, scale) not in recorded)
        for (slug, scale), record in sorted(found.items())
    ]
    lines = [
        SystemLine(
            slug=r.slug, name=r.card.name, title=r.card.title, arxiv=r.card.arxiv,
            domain=r.domain, status=r.status, summary=r.card.summary,
        )
        for r in rooms.values()
    ]  # fmt: skip
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    typer.echo(str(write_board(entries, lines, out, generated=today, not_run=not_run)))
