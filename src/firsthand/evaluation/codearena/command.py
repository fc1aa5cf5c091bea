"""The verbs of `firsthand codearena`, a thin shell over the room's functions.

Addresses, boards and ids go to stdout, progress to stderr. A token is never an argument, which other users of the
machine could read: it comes from a file or from FIRSTHAND_ARENA_TOKEN. Errors are raised as `FirsthandError`; whoever
mounts `app` prints them and exits 2.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from firsthand.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from firsthand.evaluation.codearena.arena import Arena
    from firsthand.evaluation.codearena.clients.client import ArenaClient
    from firsthand.evaluation.codearena.settings import ArenaSettings

__all__ = ["app"]

app = typer.Typer(
    name="codearena",
    help="Judge programs and rate who writes them by how the whole field did (arXiv 2503.01295).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
tokens = typer.Typer(
    help="Accounts and their tokens.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
app.add_typer(tokens, name="token")

TOKEN = "FIRSTHAND_ARENA_TOKEN"

AsJson = Annotated[bool, typer.Option("--json", help="print as JSON")]
Config = Annotated[Path | None, typer.Option(help="TOML file; flags come before it")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="print a file with every setting")]
Database = Annotated[
    str | None,
    typer.Option(help="sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME  [default: sqlite:///arena.db]"),
]
Url = Annotated[str, typer.Option(help="address of the arena")]
MaybeUrl = Annotated[str | None, typer.Option(help="address of an arena, in place of its database")]
TokenFile = Annotated[Path | None, typer.Option(help=f"file that holds the token; else ${TOKEN}")]
Repeats = Annotated[int | None, typer.Option(min=1, max=25, help="passes over the cases, for the timing")]
GradeAll = Annotated[
    bool | None, typer.Option("--grade-all/--first-failure", help="run every case, also after one failed")
]
HostClass = Annotated[str | None, typer.Option(help="of this machine; runtimes are compared within one")]

ADDRESS = "http://127.0.0.1:8766"


# --- serving and judging ---------------------------------------------------------------------------------


@app.command("serve")
def serve_command(
    database: Database = None,
    host: Annotated[str | None, typer.Option(help="address to listen on  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0: a free one  [default: 8766]")] = None,
    judges: Annotated[
        int | None, typer.Option(min=0, max=256, help="judge processes beside the server  [default: 1]")
    ] = None,
    demo: Annotated[
        bool | None,
        typer.Option(
            "--demo/--no-demo",
            help="begin a new arena with 12 problems and a league  [default: in arena.db, where no database is named]",
        ),
    ] = None,
    repeats: Repeats = None,
    grade_all: GradeAll = None,
    host_class: HostClass = None,
    config: Config = None,
    print_config: PrintConfig = False,
    as_json: AsJson = False,
) -> None:
    """Serve the API, the pages and a judge, until Ctrl-C. The first start prints an administrator's token, once."""
    if print_config:
        _print_config("serve")
        return
    settings = _settings(
        config,
        database=database, host=host, port=port, judges=judges, repeats=repeats, grade_all=grade_all,
        host_class=host_class,
    )  # fmt: skip
    from firsthand.evaluation.codearena.serving import Started, serve_arena

    def ready(address: str, started: Started) -> None:
        if as_json:
            told = {"address": address, "database": _without_password(settings.database)}
            typer.echo(json.dumps(told | ({"admin_token": started.token} if started.token else {})))
        else:
            typer.echo(address)
            if started.token:
                typer.echo(f"administrator's token, told this once: {started.token}")
            if started.problems:
                typer.echo(
                    f"{started.problems} problems, and a league of scripted contestants whose "
                    f"{started.submissions} programs are being judged",
                    err=True,
                )
            typer.echo("Ctrl-C ends the server.", err=True)
        sys.stdout.flush()

    serve_arena(settings, demo=demo, on_ready=ready)


@app.command("judge")
def judge_command(
    database: Database = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="programs judged at one time")] = 1,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="end when nothing waits")] = False,
    backend: Annotated[
        Literal["local", "ray"], typer.Option(help="processes of this machine, or tasks on a Ray cluster")
    ] = "local",
    address: Annotated[str | None, typer.Option(help="of the Ray cluster; without it, a local one")] = None,
    repeats: Repeats = None,
    grade_all: GradeAll = None,
    host_class: HostClass = None,
    config: Config = None,
    print_config: PrintConfig = False,
) -> None:
    """Judge what waits in an arena's database, on as many machines as wanted, until Ctrl-C."""
    if print_config:
        _print_config("judge")
        return
    settings = _settings(
        config, database=database, repeats=repeats, grade_all=grade_all, host_class=host_class
    )
    from firsthand.evaluation.codearena.sandbox.isolation import examine
    from firsthand.evaluation.codearena.serving import judge_what_waits

    if backend == "local":
        examine().require()  # said now, and not in the log of a process that waits for better times
    typer.echo(f"judging, {concurrency} at a time; Ctrl-C ends it", err=True)
    judge_what_waits(settings, concurrency, backend=backend, address=address, until_idle=until_idle)


@app.command("doctor")
def doctor_command(as_json: AsJson = False) -> None:
    """Say what isolation this machine gives a judged program, and which languages it can judge; exit 1 if none."""
    from dataclasses import asdict

    from firsthand.evaluation.codearena.grading.languages import languages
    from firsthand.evaluation.codearena.sandbox.isolation import examine

    found = examine()
    known = languages().values()
    if as_json:
        told = {
            "isolated": found.isolated,
            "counting": found.counting,
            "items": [asdict(item) for item in found.items],
            "languages": {one.slug: {"name": one.name, "missing": one.missing} for one in known},
        }
        typer.echo(json.dumps(told, indent=2))
    else:
        for item in found.items:
            mark = "yes" if item.works else ("NO " if item.needed else "no ")
            typer.echo(f"{mark}  {item.name}: {item.detail}")
        typer.echo("")
        for one in known:
            typer.echo(
                f"{'yes' if one.installed else 'no '}  {one.name}"
                + (f": install {', '.join(one.missing)}" if one.missing else "")
            )
        typer.echo("")
        typer.echo(
            f"Programs can be judged here, counted by {found.counting}."
            if found.isolated
            else "Nothing is judged here: what is marked NO is needed."
        )
    if not found.isolated:
        raise typer.Exit(1)


# --- problems and programs -----------------------------------------------------------------------------------


@app.command("import")
def import_command(
    path: Annotated[Path, typer.Argument(help="what `export` wrote: .jsonl, .zip or a folder of Parquet")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Import an export into an arena's database, wholly or not at all; what is there already stays."""
    from firsthand.evaluation.codearena.service.exchange import import_arena

    with _arena(_settings(None, database=database)) as arena:
        counts = import_arena(arena.database, path)
    _echo_counts(counts, as_json)


@app.command("export")
def export_command(
    path: Annotated[Path, typer.Argument(help=".jsonl, .zip of Parquet files, or a new folder for them")],
    database: Database = None,
    url: MaybeUrl = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Write everything but secrets: problems, cases, programs, verdicts, times, boards."""
    if url is not None:
        if database is not None:
            raise InputError("give --url or --database, not both")
        if path.suffix not in (".jsonl", ".zip"):
            raise InputError(f"{path}: over HTTP an export is a .jsonl or a .zip file")
        with _client(url, token_file) as client:
            client.export(path, "jsonl" if path.suffix == ".jsonl" else "parquet")
        typer.echo(json.dumps({"path": str(path)}) if as_json else str(path))
        return
    from firsthand.evaluation.codearena.service.exchange import export_arena

    with _arena(_settings(None, database=database), must_exist=True) as arena:
        counts = export_arena(arena.database, path)
    _echo_counts(counts, as_json)


@app.command("submit")
def submit_command(
    problem: Annotated[str, typer.Argument(help="the problem's id")],
    path: Annotated[Path, typer.Argument(help="the program")],
    language: Annotated[
        str | None, typer.Option(help="such as python or C++; told by the file's ending where absent")
    ] = None,
    url: Url = ADDRESS,
    token_file: TokenFile = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="until there is a verdict")] = True,
    timeout: Annotated[float | None, typer.Option(help="seconds to wait")] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a program to an arena, and print its verdict."""
    try:
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8: {error}") from error
    chosen = language or _language_of(path)
    with _client(url, token_file) as client:
        found = client.submit(problem, chosen, source, wait=wait, timeout=timeout)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    line = f"{found.sid}  {found.verdict or found.state}"
    if found.cpu_ms is not None:
        line += f"  {found.cpu_ms:.1f} ms"
    if found.peak_kb is not None:
        line += f"  {found.peak_kb / 1024:.1f} MiB"
    typer.echo(line)
    if found.verdict not in (None, "AC") and found.message:
        typer.echo(found.message, err=True)


@app.command("compete")
def compete_command(
    model: Annotated[
        str,
        typer.Option(help="the model's name at the endpoint, or a folder, a GGUF file or an embedded model"),
    ],
    endpoint: Annotated[
        str | None,
        typer.Option(help="base URL of an OpenAI-compatible server; the key comes from OPENAI_API_KEY"),
    ] = None,
    problem: Annotated[
        list[str] | None, typer.Option(help="a problem's id; may be repeated; all where absent")
    ] = None,
    language: Annotated[str, typer.Option(help="to write in")] = "python",
    samples: Annotated[
        int, typer.Option(min=1, help="of each problem; the first is the attempt, all count for pass@k")
    ] = 1,
    user: Annotated[
        str | None, typer.Option(help="the account, with --database; made where there is none")
    ] = None,
    url: MaybeUrl = None,
    database: Database = None,
    token_file: TokenFile = None,
    temperature: Annotated[float, typer.Option(min=0, help="of sampling; 0.7 in the paper")] = 0.7,
    max_tokens: Annotated[int, typer.Option(min=1, help="of a reply")] = 1024,
    seed: Annotated[int, typer.Option(help="of the first sample of each problem")] = 0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="for verdicts")] = True,
    journal: Annotated[
        Path | None, typer.Option(help="JSON lines that keep each reply's token counts from run to run")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have a model write programs for problems and submit them; run again, it goes on where it stopped.

    With --url an arena is asked over HTTP, and the token says whose attempts these are. With --database the arena is
    opened here, and this process judges, too.
    """
    if (url is None) == (database is None):
        raise InputError("give --url, or --database and --user")
    from firsthand.evaluation.codearena.clients.competing import Competed, Competition, compete
    from firsthand.evaluation.codearena.clients.models import PromptModel, open_model
    from firsthand.evaluation.codearena.refusals import UnknownAccount

    def told(one: Competed) -> None:
        if not as_json:
            took = f"  {one.cpu_ms:.1f} ms" if one.cpu_ms is not None else ""
            typer.echo(
                f"{one.pid}  {one.verdict or one.outcome}{took}" + (f"  {one.fault}" if one.fault else "")
            )

    def opened() -> PromptModel:
        return open_model(model, endpoint=endpoint, temperature=temperature, max_tokens=max_tokens)

    def run(place: Arena | ArenaClient, writer: PromptModel, account: str | None) -> Competition:
        return compete(
            place, writer, problem or None, language, samples,
            user=account, seed=seed, wait=wait, journal=journal, on_result=told,
        )  # fmt: skip

    if url is not None:
        if user is not None:
            raise InputError("--user goes with --database; over HTTP the token says who submits")
        with _client(url, token_file) as client:
            found = run(client, opened(), None)
    else:
        if user is None:
            raise InputError("--database needs --user, the account that submits")
        with _arena(_settings(None, database=database), must_exist=True) as arena:
            writer = opened()  # before the account: a model that is not there leaves none behind
            try:
                arena.accounts.find(user)
            except UnknownAccount:
                arena.accounts.create(user, "llm")
            found = run(arena, writer, user)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    tokens_told = f", {found.prompt_tokens} tokens read, {found.completion_tokens} written"
    typer.echo(
        f"{found.solved} of {found.problems} solved" + (tokens_told if found.completion_tokens else ""),
        err=True,
    )


# --- boards -----------------------------------------------------------------------------------------------------


@app.command("rank")
def rank_command(
    attempts: Annotated[
        Path | None,
        typer.Argument(help="a .jsonl or .parquet file of attempts, for a board without an arena"),
    ] = None,
    points: Annotated[
        Path | None, typer.Option(help='JSON file of points, {"problem": 5.0, …}, with a file of attempts')
    ] = None,
    database: Database = None,
    url: MaybeUrl = None,
    token_file: TokenFile = None,
    challenge: Annotated[
        Literal["formula", "share"], typer.Option(help="the paper's equation, or its prose")
    ] = "formula",
    aggregate: Annotated[
        Literal["sum", "dmoj"], typer.Option(help="the paper's sum, or what explains its table")
    ] = "sum",
    ac_unit: Annotated[
        Literal["user", "submission"], typer.Option(help="what the acceptance rate counts")
    ] = "user",
    population: Annotated[
        list[str] | None, typer.Option(help="llm, human or all; or names, repeated  [default: llm]")
    ] = None,
    es_weight: Annotated[float, typer.Option(min=0, help="of efficiency")] = 1.0,
    es_tolerance: Annotated[
        float, typer.Option(min=0, help="runtimes this near, in per cent, are equal")
    ] = 0.0,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="a user or a problem, user:NAME or problem:PID; may be repeated")
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="resamples of problems for intervals; 0: none")] = 0,
    method: Annotated[
        Literal["dp", "bradley-terry", "bradley-terry-runtime", "pass@k"],
        typer.Option(help="dynamic points, or another ranking beside them"),
    ] = "dp",
    k: Annotated[int, typer.Option(min=1, help="of pass@k")] = 1,
    as_json: AsJson = False,
) -> None:
    """Print the board of a file of attempts, of a database or of a served arena."""
    if sum(one is not None for one in (attempts, database, url)) > 1:
        raise InputError("give a file of attempts, --database or --url, one of them")
    if points is not None and attempts is None:
        raise InputError("--points goes with a file of attempts; an arena knows its problems' points")
    rules: dict[str, Any] = {
        "challenge": challenge, "aggregate": aggregate, "ac_unit": ac_unit, "es_weight": es_weight,
        "es_tolerance": es_tolerance, "leave_out": leave_out or [], "population": population or ["llm"],
    }  # fmt: skip
    board: dict[str, Any]
    if url is not None:
        asked = rules if method == "dp" else {key: rules[key] for key in ("leave_out", "population")}
        with _client(url, token_file, required=False) as client:
            found = client.ranking(method=method, k=k, bootstrap=bootstrap, **asked)
        board = found.model_dump(mode="json")
    else:
        board = _board_here(attempts, points, database, method, k, rules, bootstrap)
    if as_json:
        typer.echo(json.dumps(board, indent=2, ensure_ascii=False))
    else:
        typer.echo(_board_text(board))


def _board_here(
    attempts: Path | None,
    points: Path | None,
    database: str | None,
    method: str,
    k: int,
    rules: dict[str, Any],
    bootstrap: int,
) -> dict[str, Any]:
    """The board of a file, or of a database of this machine, in the shape of the API's answer."""
    from firsthand.evaluation.codearena.scores.attempts import read_attempts
    from firsthand.evaluation.codearena.scores.points import score
    from firsthand.evaluation.codearena.scores.ratings import bradley_terry, pass_at_k

    people = rules["population"]
    given = {
        **rules,
        "population": people[0] if len(people) == 1 else people,
        "leave_out": [_left_out(entry) for entry in rules["leave_out"]],
    }
    whom = {key: given[key] for key in ("population", "leave_out")}
    table: Any
    if attempts is not None:
        rows = read_attempts(attempts)
        worth = _points(points) if points is not None else dict.fromkeys(rows.problems, 5.0)
        if method == "dp":
            table = score(rows, worth, **given)
        elif method == "pass@k":
            table = pass_at_k(rows, k=k, problems=worth, **whom)
        else:
            table = bradley_terry(
                rows, on="solved" if method == "bradley-terry" else "runtime", problems=worth, **whom
            )
    else:
        with _arena(_settings(None, database=database), must_exist=True) as arena:
            table = arena.ranking(**given) if method == "dp" else arena.rating(cast(Any, method), k=k, **whom)
    board: dict[str, Any] = table.as_dict()
    if bootstrap and table.rows:
        board["bootstrap"] = table.bootstrap(n=bootstrap).as_dict()
    return board


def _points(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f'{path}: points are an object, such as {{"problem": 5.0}}')
    return found


def _left_out(entry: str) -> str | tuple[str, str]:
    kind, colon, name = entry.partition(":")
    return (kind, name) if colon and kind in ("user", "problem") else entry


_SHOWN = {
    "dp": ("dp", "cs", "es", "solved", "attempted", "pass_rate"),
    "rating": ("rating", "solved", "attempted", "pass_rate"),
}


def _board_text(board: dict[str, Any]) -> str:
    """The board as aligned columns: place, name, figures, and the interval of score and place where there is one."""
    rows, key = board["rows"], board["score"]
    if not rows:
        return "nobody has been judged yet"
    names = [name for name in _SHOWN.get(key, (key, "solved", "attempted", "pass_rate")) if name in rows[0]]
    intervals = {one["user"]: one for one in (board.get("bootstrap") or {}).get("rows", ())}
    header = ["place", "user", *(name.replace("_", " ") for name in names)]
    if intervals:
        header += [f"{key}, 95 %", "place, 95 %"]
    lines = [header]
    for row in rows:
        line = [str(row["rank"]), row["user"], *(_figure(row[name]) for name in names)]
        if intervals:
            one = intervals[row["user"]]
            line += [
                f"{one['low']:.2f} to {one['high']:.2f}",
                f"{one['rank_low']} to {one['rank_high']}",
            ]
        lines.append(line)
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 1 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


# --- accounts and tokens --------------------------------------------------------------------------------------


@tokens.command("issue")
def issue_command(
    name: Annotated[str, typer.Argument(help="the account")],
    kind: Annotated[
        Literal["llm", "human", "curator", "reader", "admin"] | None,
        typer.Option(help="make a new account of this kind"),
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="what the token may do; all that the account may where absent")
    ] = None,
    label: Annotated[str, typer.Option(help="what it is for")] = "",
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Print a new token of an account, once; with --kind, of a new account."""
    with _arena(_settings(None, database=database), must_exist=kind is None) as arena:
        if kind is not None:
            arena.accounts.create(name, kind)
        issued = arena.accounts.issue(name, scopes=cast(Any, scope), label=label)
    told = {"token": issued.secret, "id": issued.info.id, "account": name, "scopes": issued.info.scopes}
    typer.echo(json.dumps(told) if as_json else issued.secret)


@tokens.command("list")
def list_command(
    name: Annotated[str, typer.Argument(help="the account")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List an account's tokens, without their secrets."""
    with _arena(_settings(None, database=database), must_exist=True) as arena:
        found = arena.accounts.tokens(name)
    if as_json:
        typer.echo(json.dumps([_told(one) for one in found], indent=2))
        return
    for one in found:
        state = "revoked" if one.revoked_at else "valid"
        typer.echo(f"{one.id}  {state}  {' '.join(one.scopes)}  {one.label}".rstrip())


@tokens.command("revoke")
def revoke_command(
    token_id: Annotated[str, typer.Argument(help="its id, which `token list` prints")],
    database: Database = None,
) -> None:
    """From now on a token opens nothing."""
    with _arena(_settings(None, database=database), must_exist=True) as arena:
        typer.echo(f"{arena.accounts.revoke(token_id).id} is revoked")


@tokens.command("rotate")
def rotate_command(
    token_id: Annotated[str, typer.Argument(help="its id, which `token list` prints")],
    database: Database = None,
) -> None:
    """Print a new token in the place of an old one, which is revoked in the same moment."""
    with _arena(_settings(None, database=database), must_exist=True) as arena:
        typer.echo(arena.accounts.rotate(token_id).secret)


def _told(info: Any) -> dict[str, Any]:
    return {
        name: getattr(info, name).isoformat()
        if hasattr(getattr(info, name), "isoformat")
        else getattr(info, name)
        for name in ("id", "account", "scopes", "label", "created_at", "expires_at", "revoked_at")
    }


# --- what the verbs share ---------------------------------------------------------------------------------------


def _settings(config: Path | None, **given: Any) -> ArenaSettings:
    """Settings of a file with flags in front; raises `InputError` naming what is wrong."""
    from firsthand.evaluation.codearena.settings import ArenaSettings
    from firsthand.launch.settings import read_settings

    base = read_settings(config, ArenaSettings) if config is not None else ArenaSettings()
    return base.model_copy(update={name: value for name, value in given.items() if value is not None})


def _print_config(verb: str) -> None:
    from firsthand.evaluation.codearena.settings import ArenaSettings
    from firsthand.launch.settings import commented_toml

    typer.echo(commented_toml(ArenaSettings, f"firsthand codearena {verb} --config", {}), nl=False)


def _arena(settings: ArenaSettings, *, must_exist: bool = False) -> Arena:
    """The arena of the settings' database; a file that is not there is an error where it must be."""
    from firsthand.evaluation.codearena.service.api import open_arena

    file = settings.database.removeprefix("sqlite:///")
    if must_exist and file != settings.database and not Path(file).is_file():
        raise NotFoundError(f"{file}: no such file; name the arena's database with --database")
    return open_arena(settings)


def _client(url: str, token_file: Path | None, *, required: bool = True) -> ArenaClient:
    from firsthand.evaluation.codearena.clients.client import ArenaClient

    token = os.environ.get(TOKEN, "").strip()
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except FileNotFoundError as error:
            raise NotFoundError(f"{token_file}: no such file") from error
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{token_file}: cannot be read: {error}") from error
    if required and not token:
        raise InputError(f"a token is needed: set {TOKEN}, or name a file with --token-file")
    return ArenaClient(url, token or None)


def _language_of(path: Path) -> str:
    from firsthand.evaluation.codearena.grading.languages import languages

    for language in languages().values():
        if language.extension == path.suffix:
            return language.slug
    raise InputError(f"{path}: which language this is in is not told by its name; say --language")


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)


def _echo_counts(counts: dict[str, int], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(counts, indent=2))
        return
    width = max(map(len, counts))
    for table, count in counts.items():
        typer.echo(f"{table.ljust(width)}  {count}")
