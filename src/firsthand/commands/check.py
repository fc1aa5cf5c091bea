"""`firsthand check`: run rooms' checks and say what came out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from firsthand.catalogue.rooms import Room, all_rooms, find_room
from firsthand.claims.model import ClaimResult, ClauseResult, Record
from firsthand.claims.record import read_record, write_record
from firsthand.claims.run import dry_run, require_device, require_engine, run_check, seeds_of
from firsthand.commands import progress
from firsthand.errors import InputError, MissingDependencyError
from firsthand.launch.cache import write_atomically
from firsthand.launch.jobs import Finished

__all__ = [
    "NOT_RUN",
    "check_command",
    "read_not_run",
]

NOT_RUN = "not-run.json"  # beside the records: room → what it needs, for the board


def check_command(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="Slugs of rooms.")] = None,
    all_ready: Annotated[bool, typer.Option("--all", help="Every ready room.")] = False,
    scale: Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")] = "laptop",
    seeds: Annotated[
        str | None, typer.Option(help="FIRST-LAST, for pilots (1000-1004): exploratory, off the board.")
    ] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be run and what it costs.")] = False,
    jobs: Annotated[int, typer.Option(help="Worker processes.")] = 1,
    engine: Annotated[str, typer.Option(help="local, inline or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster; without it, a local one.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Take up the finished seeds in --out.")] = False,
    out: Annotated[Path, typer.Option(help="Where records and finished seeds go.")] = Path("runs"),
    null: Annotated[
        bool, typer.Option("--null", help="The control in both arms: nothing should hold.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the record with the package's results.")
    ] = False,
    again: Annotated[
        str, typer.Option(help="With --record: why this claim version is recorded a second time.")
    ] = "",
    expect_holds: Annotated[
        bool, typer.Option("--expect-holds", help="Exit 3 unless every verdict is holds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the claims of rooms again, against their controls."""
    if all_ready == bool(names):
        raise InputError("name one or more rooms, or give --all (and not both)")
    rooms = (
        [room for room in all_rooms() if room.ready]
        if all_ready
        else [find_room(name) for name in names or []]
    )
    chosen = _seed_range(seeds)
    if record and (scale not in ("laptop", "gpu", "paper") or chosen is not None or null):
        raise InputError("--record keeps runs of laptop, gpu or paper scale with the check's own seeds")
    if dry:
        plans = [dry_run(room.subject(), scale, engine=engine, jobs=jobs) for room in rooms]
        typer.echo(
            json.dumps(plans, indent=1) if as_json else "\n\n".join(_plan_text(plan) for plan in plans)
        )
        return
    # What would spoil the end is found before the start: a run may take hours.
    if record:
        for room in rooms:
            _may_record(room, scale, again)
    for room in rooms:
        with contextlib.suppress(ImportError):  # said below, with the other rooms that miss something
            require_engine(room.subject(), engine)
            if address is None:  # the machines of a cluster are another matter than this one
                require_device(room.subject(), scale)
    read_not_run(out / NOT_RUN)
    records: list[Record] = []
    missing: dict[str, str] = {}
    for room in rooms:
        try:
            records.append(_run(room, scale, chosen, jobs, engine, address, out, resume, null))
        except MissingDependencyError as error:
            if not all_ready:
                raise
            missing[room.slug] = str(error)
            continue
        if record:
            _keep(room, records[-1], again)
    # Other runs into the same folder may have left word of other rooms: only ours are said again.
    ours = {room.slug for room in rooms}
    others = {slug: why for slug, why in read_not_run(out / NOT_RUN).items() if slug not in ours}
    write_atomically(out / NOT_RUN, json.dumps({**others, **missing}, indent=1))
    if as_json:
        slim = [json.loads(r.model_dump_json(exclude={"observations", "details"})) for r in records]
        typer.echo(json.dumps({"records": slim, "not_run": missing}, indent=1))
    else:
        typer.echo(
            "\n\n".join([*map(record_text, records), *(f"{k}: not run: {v}" for k, v in missing.items())])
        )
    verdicts = [result.verdict for r in records for result in r.results if result.claim.measured]
    if expect_holds and (missing or any(verdict != "holds" for verdict in verdicts)):
        raise typer.Exit(3)


def read_not_run(path: Path) -> dict[str, str]:
    """Room → what it needs, as an earlier run left it; nothing where there is no such file.

    Raises `InputError` naming the file where it is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8, not JSON
        raise InputError(f"{path} is broken: {error}; delete it and run the check again") from error
    if not isinstance(found, dict) or not all(isinstance(why, str) for why in found.values()):
        raise InputError(f"{path}: wanted an object of room → reason; delete it and run the check again")
    return found


def _seed_range(text: str | None) -> list[int] | None:
    if text is None:
        return None
    first, _, last = text.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError as error:
        raise InputError(f"--seeds takes FIRST-LAST such as 1000-1004, got {text!r}") from error
    if high < low:
        raise InputError(f"--seeds {text}: the last seed is before the first")
    return list(range(low, high + 1))


def _run(
    room: Room,
    scale: str,
    chosen: list[int] | None,
    jobs: int,
    engine: str,
    address: str | None,
    out: Path,
    resume: bool,
    null: bool,
) -> Record:
    subject = room.subject()
    total = len(chosen) if chosen is not None else seeds_of(subject, scale)
    with progress.bar(total, f"{room.slug} {scale}") as advance:

        def on_seed(finished: Finished) -> None:
            how = "resumed" if finished.resumed else f"{finished.wall_seconds:.1f} s"
            advance(f"{finished.key} {how}")

        return run_check(
            subject, scale, seeds=chosen, jobs=jobs, engine=engine, address=address,
            out=out, resume=resume, null=null, on_seed=on_seed,
        )  # fmt: skip


def _may_record(room: Room, scale: str, again: str) -> None:
    """Recorded seeds run once per claim version, unless a reason is given and kept.

    Every record counts, those put aside under their date as well: going back to an earlier version and
    running it again is a second run of it. The present record is read even with a reason, so that one
    which cannot be read is an error before the run and not after it.
    """
    current = room.record_path(scale)
    if current.exists():
        read_record(current)
    new = {claim.id: claim.version for claim in room.card.claims}
    for path in sorted(current.parent.glob(f"{scale}.*json")):
        if not again and _claim_versions(path) == new:
            raise InputError(
                f"{room.slug} has a {scale} record of these claim versions ({path.name}); seeds 0..n-1 run "
                "once a version. Raise `version` in card.toml with its `version_reason`, or say why with --again"
            )


def _claim_versions(path: Path) -> dict[str, int] | None:
    """Claim → version in a record of any schema; None where an old one does not say."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {result["claim"]["id"]: result["claim"]["version"] for result in raw["results"]}
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _keep(room: Room, record: Record, again: str) -> None:
    """Put `record` in its place among the package's results; the one before it stays, under its date.

    The old one is copied first and then replaced in one step, so that there is a record at every moment.
    """
    path = room.record_path(record.scale)
    if again:
        record = record.model_copy(update={"details": {**record.details, "again": again}})
    if path.exists():
        _put_aside(path)
    write_record(record, path)


def _put_aside(path: Path) -> None:
    """Copy a record to a name with the moment it was made; another one of that second keeps its own name."""
    stamp = read_record(path).started.split("+")[0].replace(":", "")
    text = path.read_text(encoding="utf-8")
    aside, number = path.with_name(f"{path.stem}.{stamp}.json"), 1
    while aside.exists() and aside.read_text(encoding="utf-8") != text:
        number += 1
        aside = path.with_name(f"{path.stem}.{stamp}-{number}.json")
    write_atomically(aside, text)


# --- text for people ---------------------------------------------------------------------------------


def _number(value: float) -> str:
    return f"{value:.4g}"


def clause_text(result: ClauseResult) -> str:
    """One line: the effect, its interval, the margin."""
    clause, interval = result.clause, result.interval
    unit = f" {clause.unit}" if clause.unit else ""
    versus = f" vs {clause.control}" if clause.control else ""
    if interval is None:
        return f"{clause.treatment}{versus}"
    sign = {"greater": ">", "less": "<", "equivalent": "within ±"}.get(
        clause.kind, ">" if clause.direction == "greater" else "<"
    )
    return (
        f"{clause.treatment}{versus}: {_number(interval.estimate)}{unit} "
        f"[{_number(interval.low)}, {_number(interval.high)}], wanted {sign} {_number(clause.margin)} "
        f"({interval.method}, n = {interval.n})"
    )


def result_text(result: ClaimResult) -> str:
    """A claim's lines: its sentence, its verdict, its clauses."""
    mark = "*" if result.claim.primary else " "
    if not result.claim.measured:
        word = "not measurable here"
    else:
        word = result.verdict.upper() if result.verdict else "ran"
    lines = [f"{mark} {word:<13} {result.claim.sentence}"]
    if result.claim.evidence != "real":
        lines.append(f"    evidence: {result.claim.evidence}")
    lines += [f"    {clause_text(clause)}" for clause in result.clauses]
    if result.reason:
        lines.append(f"    {result.reason}")
    return "\n".join(lines)


def record_text(record: Record) -> str:
    """A record as `firsthand check` prints it."""
    seeds = f"{len(record.seeds)} seed{'s' if len(record.seeds) != 1 else ''}"
    head = (
        f"{record.room} · {record.scale} · {seeds} · {record.wall_seconds:.0f} s "
        f"({record.cpu_seconds:.0f} CPU-s), peak {record.peak_memory_mib:.0f} MiB"
        + (" · exploratory" if record.exploratory else "")
    )
    return "\n".join([head, *map(result_text, record.results)])


def _plan_text(plan: Mapping[str, Any]) -> str:
    """An account for people: what is nested is indented, rows become a table, long numbers get spaces."""
    width = max((len(key) for key, value in plan.items() if not _nested(value)), default=0)
    lines = []
    for key, value in plan.items():
        if not _nested(value):
            lines.append(f"{key:<{width}}  {_plain(value)}")
            continue
        if isinstance(value, Mapping):
            below = _plan_text(value).splitlines()
        elif isinstance(value[0], Mapping):
            below = _table(value)
        else:
            below = [_plain(item) for item in value]
        lines += [f"{key}:", *(f"  {line}" for line in below)]
    return "\n".join(lines)


def _nested(value: Any) -> bool:
    return bool(value) and isinstance(value, Mapping | list)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows with the same keys as aligned columns; numbers to the right."""
    cells = [list(rows[0]), *([_plain(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [isinstance(value, int | float) for value in rows[0].values()]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 or abs(value) >= 1e6 else f"{value:,.0f}".replace(",", " ")
    return str(value) if value or value == 0 else "none"
