"""The verbs of the catalogue, as Typer takes them: `list`, `show`, `cite` and `digest read`.

Knows the terminal: figures to stdout, remarks to stderr, and nothing but JSON on stdout under `--json`. What
is said comes from `render`; errors are raised for the command's shell to print.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from firsthand.catalogue.digest import read_digest
from firsthand.catalogue.render import digest_rows, first_sentence, list_rows, show_data
from firsthand.catalogue.rooms import DOMAINS, all_rooms, find_room
from firsthand.errors import InputError

__all__ = ["cite_command", "digest_read_command", "list_command", "show_command"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RoomName = Annotated[str, typer.Argument(metavar="NAME", help="A system, as `firsthand list` names it.")]

WIDTH = 100  # of running text; tables take the terminal's own width
SHORT = 18  # a column of cells no longer than this keeps them whole: names are there to be copied


def list_command(
    as_json: AsJson = False,
    domain: Annotated[str | None, typer.Option("--domain", help="Only the systems of one domain.")] = None,
) -> None:
    """List the systems: what each is, and whether it is ready or planned."""
    rooms = all_rooms()
    if domain is not None:
        known = list(dict.fromkeys([*(name for name, _ in DOMAINS), *(room.domain for room in rooms)]))
        if domain not in known:
            raise InputError(f"--domain: no domain is called {domain!r}; there are {', '.join(known)}")
        rooms = tuple(room for room in rooms if room.domain == domain)
    rows = list_rows(rooms)
    if as_json:
        _print_json(rows)
        return
    _print_table(
        ("name", "domain", "status", "arXiv", "what it gives"),
        [
            (row["slug"], row["domain"], row["status"], row["arxiv"], first_sentence(row["summary"]))
            for row in rows
        ],
    )


def show_command(name: RoomName, as_json: AsJson = False) -> None:
    """Show one system: the paper's figures, claims, the latest verdicts and how to import it."""
    data = show_data(find_room(name))
    if as_json:
        _print_json(data)
        return
    typer.echo(f"{data['name']} ({data['slug']}), {data['domain']}, {data['status']}")
    _print_text(data["title"])
    venue = f", {data['venue']}" if data["venue"] else ""
    typer.echo(f"https://arxiv.org/abs/{data['arxiv']}{venue}")
    if data["authors"]:
        _print_text(", ".join(data["authors"]))
    typer.echo()
    _print_text(data["summary"])
    if data["figures"]:
        _print_head("The paper's figures (not ours)")
        columns = ("setting", "metric", "control", "value", "source")
        _print_table(columns, [tuple(figure[column] for column in columns) for figure in data["figures"]])
    if data["claims"]:
        _print_head("Claims")
        for claim in data["claims"]:
            mark = " (primary)" if claim["primary"] else ""
            _print_text(f"{claim['id']}{mark}: {claim['sentence']}", hanging=2)
            if claim["note"]:
                _print_text(claim["note"], indent=2)
        _print_head("Latest verdicts")
        _print_table(
            ("claim", "scale", "verdict", "evidence", "estimate [95 %]", "why"),
            [_verdict_cells(row) for row in data["verdicts"]],
        )
    if data["peers"]:
        _print_head("Peers")
        for peer in data["peers"]:
            address = f" <{peer['url']}>" if peer["url"] else ""
            note = f": {peer['note']}" if peer["note"] else ""
            _print_text(f"{peer['name']}{address}{note}", hanging=2)
    _print_head("In Python")
    typer.echo(data["python"] or f"# {data['package']} has no public names yet: it is {data['status']}")


def cite_command(name: RoomName) -> None:
    """Print the BibTeX entry of a system's paper."""
    card = find_room(name).card
    typer.echo(card.bibtex)
    if card.author_order == "digest":
        address = f"https://arxiv.org/abs/{card.arxiv}"
        typer.echo(f"note: the authors stand in the digest's order; compare {address}", err=True)


def digest_read_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A day's digest of papers, in Markdown.")],
    as_json: AsJson = False,
) -> None:
    """Read a digest and say which of its papers have a room here."""
    digest = read_digest(file)
    rows = digest_rows(digest)
    if as_json:
        problems = [{"line": problem.line, "cause": problem.cause} for problem in digest.problems]
        _print_json({"entries": rows, "problems": problems})
        return
    _print_table(
        ("line", "votes", "arXiv", "title", "room", "status"),
        [tuple(row[key] for key in ("line", "votes", "arxiv", "title", "room", "status")) for row in rows],
    )
    matched = sum(row["room"] is not None for row in rows)
    typer.echo(f"{len(rows)} {'entry' if len(rows) == 1 else 'entries'}, {matched} with a room here")
    for problem in digest.problems:
        typer.echo(str(problem), err=True)


def _verdict_cells(row: dict[str, Any]) -> tuple[str, ...]:
    verdict = row["verdict"] + (" (stale)" if row["stale"] else "")
    return (row["claim"], row["scale"], verdict, row["evidence"], "; ".join(row["intervals"]), row["reason"])


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def _print_head(text: str) -> None:
    typer.echo(f"\n{text}")


def _print_text(text: str, *, indent: int = 0, hanging: int = 0) -> None:
    filled = textwrap.fill(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_on_hyphens=False,
        break_long_words=False,
    )
    typer.echo(filled)


def _print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table as wide as the terminal; cells wrap, are never cut, and are taken as they are (no markup)."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    for number, name in enumerate(head):
        short = max((len(row[number]) for row in cells), default=0) <= SHORT
        table.add_column(name, overflow="fold", no_wrap=short)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)
