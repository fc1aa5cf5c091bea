"""The verbs of `firsthand speql`, a thin shell over the room's functions.

Addresses, queries and figures go to stdout, what was assumed to stderr. Errors are raised as `FirsthandError`; whoever
mounts `app` prints them and exits 2.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from firsthand.errors import InputError, NotFoundError

__all__ = ["app"]

app = typer.Typer(
    name="speql",
    help="An SQL editor that answers before you finish typing (arXiv 2503.00714).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="print as JSON")]
Source = Annotated[
    str,
    typer.Option(help="a DuckDB file, a folder of Parquet files, or a SQLAlchemy URL", show_default=False),
]
Cursor = Annotated[
    int | None, typer.Option(min=0, help="where the cursor stands, in characters; the end where absent")
]


@app.command("serve")
def serve_command(
    source: Annotated[
        str | None,
        typer.Argument(help="a DuckDB file, a folder of Parquet, CSV or JSON files, a SQLAlchemy URL"),
    ] = None,
    host: Annotated[str | None, typer.Option(help="address to listen on  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0: a free one  [default: 8765]")] = None,
    token: Annotated[
        str | None, typer.Option(help="what the page asks for once; a new one where absent")
    ] = None,
    open_browser: Annotated[bool | None, typer.Option("--open/--no-open", help="open a browser")] = None,
    memory_limit: Annotated[str | None, typer.Option(help='of DuckDB, such as "4GB"')] = None,
    threads: Annotated[int | None, typer.Option(min=0, help="of DuckDB; 0: all cores")] = None,
    speculate: Annotated[bool | None, typer.Option("--speculate/--no-speculate", help="work ahead")] = None,
    race: Annotated[
        bool | None, typer.Option("--race/--no-race", help="begin submissions as they are too")
    ] = None,
    debounce_ms: Annotated[int | None, typer.Option(min=0, help="pause before a preview")] = None,
    preview_rows: Annotated[int | None, typer.Option(min=1, max=1000, help="rows of a preview")] = None,
    max_views: Annotated[int | None, typer.Option(min=1, help="tables kept ahead")] = None,
    max_view_bytes: Annotated[float | None, typer.Option(help="bytes that they may take together")] = None,
    command_timeout_s: Annotated[float | None, typer.Option(help="seconds that work ahead may take")] = None,
    sample_fraction: Annotated[float | None, typer.Option(help="of a table, for long previews")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file; flags come before it")] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="print a file with every setting")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve the page, until Ctrl-C; prints the address that lets a browser in."""
    from firsthand.launch.settings import commented_toml
    from firsthand.query.speql.serving import ServeSettings, serve_page

    if print_config:
        typer.echo(commented_toml(ServeSettings, "firsthand speql serve SOURCE --config", {}), nl=False)
        return
    if source is None:
        raise InputError("give a DuckDB file, a folder of Parquet files or a SQLAlchemy URL")
    given = {
        "host": host, "port": port, "token": token, "open": open_browser, "memory_limit": memory_limit,
        "threads": threads, "speculate": speculate, "race": race, "debounce_ms": debounce_ms,
        "preview_rows": preview_rows, "max_views": max_views, "max_view_bytes": max_view_bytes,
        "command_timeout_s": command_timeout_s, "sample_fraction": sample_fraction,
    }  # fmt: skip
    settings = _settings(config, {name: value for name, value in given.items() if value is not None})

    def ready(address: str) -> None:
        typer.echo(json.dumps({"address": address, "source": source}) if as_json else address)
        sys.stdout.flush()
        if not as_json:
            typer.echo(
                "Open this address in a browser; it holds the token. Ctrl-C ends the server.", err=True
            )

    serve_page(source, settings, on_ready=ready)


def _settings(file: Path | None, given: dict[str, Any]) -> Any:
    """Settings of a file with flags in front; raises `InputError` naming what is wrong."""
    from pydantic import ValidationError

    from firsthand.launch.settings import read_settings
    from firsthand.query.speql.serving import ServeSettings

    read = {} if file is None else read_settings(file, ServeSettings).model_dump(exclude_unset=True)
    try:
        return ServeSettings.model_validate({**read, **given})
    except ValidationError as error:
        faults = (f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}" for fault in error.errors())
        raise InputError("; ".join(faults)) from error


@app.command("repair")
def repair_command(
    file: Annotated[str, typer.Argument(help="a file with unfinished SQL; - reads stdin")],
    source: Source,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """Print something that runs, made of unfinished SQL; what was left out goes to stderr."""
    from firsthand.query.speql.opening import engine_of
    from firsthand.query.speql.repair import repair

    text = _text(file)
    engine = engine_of(source)
    try:
        found = repair(text, engine.schema, cursor=cursor)
    finally:
        engine.close()
    if as_json:
        body = {
            "sql": found.sql, "exact": found.exact, "dropped": found.dropped, "span": list(found.span),
            "edits": [asdict(edit) for edit in found.edits],
        }  # fmt: skip
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    typer.echo(found.sql)
    for words in found.dropped:
        typer.echo(f"left out: {words}", err=True)


@app.command("explain")
def explain_command(
    sql: Annotated[str, typer.Argument(help="a query, finished or not; - reads stdin")],
    source: Source,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """Say what would be made ahead of a query and which of it would answer; nothing is run."""
    from firsthand.query.speql.explaining import explain
    from firsthand.query.speql.opening import engine_of

    text = _text("-") if sql == "-" else sql
    engine = engine_of(source)
    try:
        found = explain(text, engine, cursor=cursor)
    finally:
        engine.close()
    if as_json:
        body = {
            "sql": found.repair.sql, "exact": found.repair.exact, "dropped": found.repair.dropped,
            "unknown": found.unknown, "planned": [asdict(one) for one in found.planned], "answer": found.answer,
        }  # fmt: skip
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    typer.echo(f"runs      {found.repair.sql}")
    for words in found.repair.dropped:
        typer.echo(f"left out  {words}")
    if found.unknown:
        typer.echo(f"not understood, so only its whole answer is kept: {found.unknown}")
    for one in found.planned:
        rows = "" if one.rows is None else f", about {one.rows:,.0f} rows"
        typer.echo(f"ahead     {one.name} ({one.kind}{rows}{', answers' if one.answers else ''}): {one.sql}")
    typer.echo(f"answer    {found.answer or 'the query as it is'}")


@app.command("replay")
def replay_command(
    trace: Annotated[
        str, typer.Argument(help="a JSONL trace, or an example: exploring-tpch, fixing-mistakes")
    ],
    source: Source,
    clock: Annotated[
        str, typer.Option(help="recorded, ample (wait after each edit), or human (5 characters a second)")
    ] = "ample",
    no_speculation: Annotated[
        bool, typer.Option("--no-speculation", help="answer each query as it comes")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="of DuckDB")] = None,
    as_json: AsJson = False,
) -> None:
    """Type a recorded session again, and say how each of its queries was answered."""
    from typing import cast, get_args

    from firsthand.query.speql.traces import Clock, replay_on

    if clock not in get_args(Clock):
        raise InputError(f"--clock {clock}: choose {', '.join(get_args(Clock))}")
    found = replay_on(trace, source, clock=cast(Clock, clock), speculate=not no_speculation, threads=threads)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"{found.edits} edits, {found.previews} previews, {found.tables} tables made ahead, {found.seconds:.1f} s"
    )
    for one in found.submissions:
        text = " ".join(one.sql.split())
        if one.error:
            typer.echo(f"failed: {one.error}  {text[:90]}")
            continue
        level = "direct" if one.level is None else f"level {one.level}"
        typer.echo(f"{one.plan_ms + one.exec_ms:8.1f} ms  {level:<8} {one.rows:>7} rows  {text[:90]}")


@app.command("prove")
def prove_command(
    output: Annotated[
        Path, typer.Option(help="a file of lines; what it holds is not done again", show_default=False)
    ],
    pairs: Annotated[
        int, typer.Option(min=1, help="of a text that was typed and one that was asked, in random worlds")
    ] = 2000,
    workload: Annotated[
        str | None, typer.Option(help="type the queries of tpcds or tpch in place of random ones")
    ] = None,
    by: Annotated[str, typer.Option(help="type by line or by character")] = "line",
    queries: Annotated[int | None, typer.Option(min=1, help="so many of them, chosen by the seed")] = None,
    number: Annotated[
        list[int] | None, typer.Option(help="of a query: only these are typed; may be repeated")
    ] = None,
    scale_factor: Annotated[float, typer.Option(help="of the workload's tables")] = 0.01,
    seed: Annotated[int, typer.Option(help="of the choice, and of constants that are changed")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare answers from tables made ahead with those of the queries themselves; exit 1 where one differs."""
    from typing import Literal, cast

    from firsthand.query.speql.proving import prove_workload, prove_worlds

    if number and queries:
        raise InputError("give --queries, which chooses by the seed, or --number, not both")
    with _progress(quiet) as progress:
        if workload is None:
            found = prove_worlds(pairs, output, progress=progress)
        else:
            found = prove_workload(
                cast(Literal["tpcds", "tpch"], workload), output, by=cast(Literal["line", "character"], by),
                queries=number or queries, scale_factor=scale_factor, seed=seed, progress=progress,
            )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
    else:
        for said in found.differences:
            typer.echo(f"{said}\n")
        what = "worlds" if workload is None else "queries typed"
        typer.echo(
            f"{found.parts} {what}, {found.pairs} answers compared, {found.served} of them from tables made ahead, "
            f"{len(found.differences)} differ"
        )
    if found.differences:
        raise typer.Exit(1)


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    """A callback (done, of how many) that draws a bar on stderr; None where nothing is to be drawn."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _text(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}; - reads stdin") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as UTF-8 text: {error}") from error
