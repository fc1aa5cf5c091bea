"""The board: recorded verdicts as a static site that opens from a folder, without server or network.

Knows which record stands for a system, which pages there are and how they get to disk in one piece.
Knows nothing of how records are made or judged. Pages come from the templates beside this module
(`board_assets`); text is escaped there, and what a claim says is put into words by `board_view`.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firsthand.claims.board_view import (
    SCALE_ORDER,
    Charts,
    ClaimView,
    RecordView,
    chart_views,
    claim_views,
    count_text,
    other_details,
    record_view,
)
from firsthand.claims.model import Record
from firsthand.errors import InputError, OutputError

__all__ = ["BoardEntry", "SystemLine", "write_board"]

MARKER = '<meta name="generator" content="firsthand board">'
ASSETS = ("board.css", "board.js")
CHANCE = 0.025  # false holds a two-sided 95 % interval allows where there is no effect


@dataclass(frozen=True)
class BoardEntry:
    """A record and how it stands today: made by other sources than these (stale), or just now (fresh)."""

    record: Record
    stale: bool
    fresh: bool = False


@dataclass(frozen=True)
class SystemLine:
    """What the board says of a system beyond its records."""

    slug: str
    name: str
    title: str
    arxiv: str
    domain: str
    status: str  # "ready" or "planned"
    summary: str


@dataclass(frozen=True)
class _Row:
    system: SystemLine
    run: RecordView
    view: ClaimView
    # how other records of the claim came out: "laptop scale, 2026-10-02: holds (stale)"
    others: tuple[str, ...]


@dataclass(frozen=True)
class _Fresh:
    system: SystemLine
    run: RecordView
    text: str


@dataclass(frozen=True)
class _Page:
    system: SystemLine
    run: RecordView
    claims: tuple[ClaimView, ...]
    others: tuple[RecordView, ...]
    charts: Charts
    details: tuple[str, str]


@dataclass(frozen=True)
class _Tally:
    """The count line of the board's head."""

    claims: int
    systems: int
    tested: int  # judged by a statistical test
    exact: int
    unmeasured: int
    ran: int
    words: str  # "6 hold, 2 fail, 7 inconclusive"

    @property
    def chance(self) -> str:
        """False holds that chance alone would give, were every effect exactly at its margin."""
        return f"{CHANCE * self.tested:.3f}".rstrip("0").rstrip(".")


def write_board(
    entries: Sequence[BoardEntry],
    systems: Sequence[SystemLine],
    out: Path,
    *,
    generated: str,
    not_run: Mapping[str, str] | None = None,
) -> Path:
    """Write `index.html`, one page a system with a record, and their two assets into the folder `out`.

    `generated` is printed as it is (a date); the same input gives the same bytes. `not_run` says, by
    slug, why a room could not run. Exploratory records are counted and otherwise left out. The pages are
    written beside `out` and swapped in whole. Returns the path of `index.html`.

    Raises InputError where `out` holds something that is not a board, or a record's room is no file
    name; OutputError where writing fails, with an older board left as it was.
    """
    for entry in entries:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", entry.record.room) or entry.record.room == "index":
            raise InputError(
                f"a record names the room {entry.record.room!r}: it must be a slug such as 'rds-plus'"
            )
    out = Path(out).absolute()
    _must_be_ours(out)
    pages = _render(entries, systems, generated, dict(not_run or {}))
    _swap_in(pages, out)
    return out / "index.html"


# --- what stands on the board -----------------------------------------------------------------------


def _render(
    entries: Sequence[BoardEntry], systems: Sequence[SystemLine], generated: str, not_run: dict[str, str]
) -> dict[str, str]:
    """File name -> text of every page and asset."""
    shown = [entry for entry in entries if not entry.record.exploratory]
    by_room: dict[str, list[BoardEntry]] = {}
    for entry in shown:
        by_room.setdefault(entry.record.room, []).append(entry)
    lines = {system.slug: system for system in systems}
    order = [s.slug for s in systems if s.slug in by_room] + sorted(set(by_room) - set(lines))
    rows: list[_Row] = []
    fresh: list[_Fresh] = []
    pages: list[_Page] = []
    for slug in order:
        ranked = sorted(by_room[slug], key=_precedence)
        first = ranked[0].record
        line = lines.get(slug) or SystemLine(slug, slug, first.title, "", first.domain, "ready", "")
        runs = [record_view(e.record, stale=e.stale, fresh=e.fresh) for e in ranked]
        rows.extend(
            _Row(line, runs[0], view, _others(view.claim.id, runs[1:])) for view in claim_views(first, slug)
        )
        fresh.extend(_Fresh(line, run, _ran(run)) for run in runs[1:] if run.fresh)
        pages.append(
            _Page(
                system=line,
                run=runs[0],
                claims=claim_views(first, "c"),
                others=tuple(runs[1:]),
                charts=chart_views(first.details, "chart"),
                details=other_details(first.details),
            )
        )
    idle = [s for s in systems if s.slug not in by_room]
    site = {"generated": generated, "marker": MARKER}
    environment = _environment()
    texts = {
        "index.html": environment.get_template("index.html").render(
            **site,
            rows=rows,
            tally=_tally(rows),
            fresh=fresh,
            not_run=[(s, not_run[s.slug]) for s in systems if s.slug in not_run],
            waiting=[s for s in idle if s.slug not in not_run],
            domains=sorted(
                {row.system.domain for row in rows} | {s.domain for s in systems if s.slug in not_run}
            ),
            exploratory=len(entries) - len(shown),
        )
    }
    template = environment.get_template("system.html")
    for page in pages:
        texts[f"{page.system.slug}.html"] = template.render(**site, page=page)
    for name in ASSETS:
        texts[name] = (Path(__file__).parent / "board_assets" / name).read_text(encoding="utf-8")
    return texts


def _precedence(entry: BoardEntry) -> tuple[int, tuple[int, ...]]:
    """Largest scale first, then the latest start: the first record speaks for its room."""
    moment = tuple(-ord(character) for character in entry.record.started)
    return SCALE_ORDER.index(entry.record.scale), moment


def _others(claim: str, runs: Sequence[RecordView]) -> tuple[str, ...]:
    """How the same claim came out in the room's other records."""
    found = []
    for run in runs:
        for result in run.record.results:
            if result.claim.id == claim and result.claim.measured:
                status = "ran" if run.record.scale == "smoke" or result.verdict is None else result.verdict
                when = "run now" if run.fresh else run.when[:10]
                found.append(
                    f"{run.record.scale} scale, {when}: {status}" + (" (stale)" if run.stale else "")
                )
    return tuple(found)


def _ran(run: RecordView) -> str:
    """What a fresh smoke run says: that the path works, and nothing of the claims."""
    claims = sum(result.claim.measured for result in run.record.results)
    seeds = len(run.record.seeds)
    return f"claims measured: {claims}, seeds: {seeds}; too small to say anything of the claims"


def _tally(rows: Sequence[_Row]) -> _Tally:
    statuses = [row.view.status for row in rows]
    judged = [row for row in rows if row.view.status in ("holds", "fails", "inconclusive")]
    exact = sum(all(clause.kind == "exact" for clause in row.view.claim.clauses) for row in judged)
    return _Tally(
        claims=len(rows),
        systems=len({row.system.slug for row in rows}),
        tested=len(judged) - exact,
        exact=exact,
        unmeasured=statuses.count("not measurable here"),
        ran=statuses.count("ran"),
        words=", ".join(
            count_text(word, statuses.count(word)) for word in ("holds", "fails", "inconclusive")
        ),
    )


def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "board_assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


# --- how it gets to disk ----------------------------------------------------------------------------


def _must_be_ours(out: Path) -> None:
    """Refuse to replace anything but an earlier board: the swap would delete it."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise InputError(f"{out} is not a folder: name a new or empty folder for the board")
    found = sorted(path.name for path in out.iterdir())
    if not found:
        return
    strange = [name for name in found if name not in ASSETS and not name.endswith(".html")]
    index = out / "index.html"
    if strange or not index.is_file() or MARKER not in index.read_text(encoding="utf-8", errors="replace"):
        seen = ", ".join((strange or found)[:3])
        raise InputError(f"{out} holds files that are not a board's ({seen}): name a new or empty folder")


def _swap_in(texts: Mapping[str, str], out: Path) -> None:
    """Write all files beside `out`, then rename; on failure the old folder is still there, whole."""
    mark = uuid.uuid4().hex[:8]  # names two writers cannot share; never part of the board
    fresh, old = out.parent / f".{out.name}.{mark}.new", out.parent / f".{out.name}.{mark}.old"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh.mkdir()
        for name, text in texts.items():
            (fresh / name).write_text(text, encoding="utf-8", newline="\n")
        if out.exists():
            out.rename(old)
        try:
            fresh.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise OutputError(
            f"the board could not be written to {out}: {error}. Is there space, and may you write?"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
