"""The contract that every room is tested against: `check_room(room)`.

Public, so that a room from another package can be held to it in that package's own tests:

    from firsthand.catalogue.rooms import find_room
    from firsthand.testing import check_room

    def test_contract():
        check_room(find_room("my-room"))

Each promise is one function here; `check_room` calls them all and raises `AssertionError` naming the
first that is not kept. What a machine cannot see (that a test proves what it claims) is left to people.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from firsthand.catalogue.rooms import Room
from firsthand.claims.model import Record
from firsthand.claims.record import read_record
from firsthand.claims.run import run_check
from firsthand.claims.sources import source_files
from firsthand.claims.verdict import judge
from firsthand.errors import FirsthandError

__all__ = ["PROMISES", "check_room"]

SMOKE_CPU_SECONDS = 8.0
HEAVY = ("torch", "transformers", "scipy.stats", "pandas", "matplotlib", "ray")
# Calls that reach out of a library into its caller's process: (module or "", name)
FORBIDDEN = {
    ("", "print"),
    ("np.random", "seed"),
    ("numpy.random", "seed"),
    ("random", "seed"),
    ("torch", "manual_seed"),
    ("torch", "set_num_threads"),
    ("logging", "basicConfig"),
    ("torch", "set_default_dtype"),
}


def _promise(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


# --- one function a promise ---------------------------------------------------------------------------


def imports_are_light(room: Room) -> None:
    """Importing the room and its command loads none of the heavy packages."""
    code = (
        f"import sys, {room.package}, {room.package}.command\n"
        f"heavy = sorted(set({HEAVY!r}) & set(sys.modules))\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    _promise(answer.returncode == 0, f"importing {room.package} loads or fails: {answer.stderr.strip()}")


def card_is_measured(room: Room) -> None:
    """The card states claims, one of them primary, and each is measured or says why not."""
    claims = room.card.claims
    _promise(bool(claims), f"{room.slug}: the card states no claim")
    for claim in claims:
        _promise(
            claim.measured or bool(claim.reason), f"{room.slug}/{claim.id}: neither measured nor excused"
        )
        _promise(
            not claim.measured or bool(claim.generalises_over),
            f"{room.slug}/{claim.id}: say what the interval generalises over",
        )


def features_are_proven(room: Room, tests: Path | None = None) -> None:
    """`features.toml` gives, for each row of the sheet's table, tests that exist or why it is not due yet.

    `tests` is the folder that test names in it are relative to (the checkout); None skips looking there.
    """
    path = room.folder / "features.toml"
    _promise(path.is_file(), f"{room.slug}: no features.toml")
    features = tomllib.loads(path.read_text(encoding="utf-8")).get("features", [])
    _promise(bool(features), f"{path}: no [[features]]")
    for feature in features:
        _promise(set(feature) <= {"name", "tests", "later"}, f"{path}: unknown keys in {feature}")
        _promise(bool(feature.get("name")), f"{path}: a feature without a name: {feature}")
        proven = feature.get("tests", [])
        _promise(
            bool(proven) or bool(feature.get("later")), f"{path}: {feature['name']}: no test and no reason"
        )
        for test in proven if tests is not None else ():
            file, _, name = test.partition("::")
            source = (tests or Path()) / file
            _promise(source.is_file(), f"{path}: {feature['name']}: no file {file}")
            names = {
                n.name
                for n in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
                if isinstance(n, ast.FunctionDef)
            }
            _promise(not name or name in names, f"{path}: {feature['name']}: no test {name} in {file}")


def library_keeps_to_itself(room: Room) -> None:
    """No module behind the check prints, seeds global generators, sets threads or configures logging."""
    for name, path in source_files(f"{room.package}.check").items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            head, _, tail = ast.unparse(node.func).rpartition(".")
            _promise(
                (head, tail) not in FORBIDDEN,
                f"{name}, line {node.lineno}: a library must not call {head}.{tail}",
            )


def _public(room: Room) -> Iterator[tuple[str, Any]]:
    module = importlib.import_module(room.package)
    for name in getattr(module, "__all__", ()):
        yield name, getattr(module, name)


def public_names_are_documented(room: Room) -> None:
    """Every public function and class has a docstring and type hints on all its parameters."""
    names = list(_public(room))
    _promise(bool(names), f"{room.package}: __all__ is empty")
    for name, thing in names:
        functions: list[tuple[str, Callable[..., Any]]] = []
        if inspect.isclass(thing):
            _promise(bool(thing.__doc__), f"{room.package}.{name} has no docstring")
            functions = [
                (f"{name}.{method}", member)
                for method, member in vars(thing).items()
                if inspect.isfunction(member) and not method.startswith("_")
            ]
        elif inspect.isfunction(thing):
            functions = [(name, thing)]
        for label, function in functions:
            _promise(bool(inspect.getdoc(function)), f"{room.package}.{label} has no docstring")
            hints = function.__annotations__
            for parameter in inspect.signature(function).parameters.values():
                untyped = parameter.name not in hints and parameter.name not in ("self", "cls")
                _promise(not untyped, f"{room.package}.{label}: parameter {parameter.name} has no type")
            _promise("return" in hints, f"{room.package}.{label} has no return type")


def errors_are_ours(room: Room) -> None:
    """Every exception the room defines is a `FirsthandError` and also a builtin other than Exception.

    One whose name begins with an underscore is the room's own affair: no user ever sees it.
    """
    for path in sorted(room.folder.rglob("*.py")):
        place = path.relative_to(room.folder)
        # Folders without __init__.py hold data; migrations are run by Alembic and cannot be imported.
        data = not (path.parent / "__init__.py").is_file() or "migrations" in place.parts
        if data or path.stem in ("__init__", "check", "command"):
            continue
        module = importlib.import_module(".".join((room.package, *place.with_suffix("").parts)))
        for name, thing in vars(module).items():
            if (
                inspect.isclass(thing)
                and issubclass(thing, BaseException)
                and not issubclass(thing, Warning)
                and thing.__module__ == module.__name__
                and not name.startswith("_")
            ):
                _promise(issubclass(thing, FirsthandError), f"{module.__name__}.{name} is no FirsthandError")
                builtin = [b for b in thing.__mro__ if b.__module__ == "builtins"]
                _promise(
                    builtin[0] is not Exception, f"{module.__name__}.{name} matches no builtin exception"
                )


def command_helps(room: Room) -> None:
    """`firsthand SLUG --help` and each verb's --help say something and load nothing heavy."""
    import typer

    app = importlib.import_module(f"{room.package}.command").app
    group = typer.main.get_command(app)
    verbs = getattr(group, "commands", {})
    _promise(bool(verbs), f"{room.slug} has no verbs")
    for verb, command in verbs.items():
        _promise(bool(command.help), f"firsthand {room.slug} {verb} has no help text")


def smoke_repeats_within_budget(room: Room) -> Record:
    """Smoke stays within its CPU budget and gives the same seeded observations in another process.

    The budget counts once models and libraries are loaded, so one seed is run before it is measured. A
    tracer such as coverage's slows Python down about twice; under one, twice the budget is allowed.
    """
    subject = room.subject()
    run_check(subject, "smoke", seeds=[0], engine="inline")
    first = run_check(subject, "smoke", engine="inline")
    second = run_check(subject, "smoke", engine="local")
    budget = SMOKE_CPU_SECONDS * (2 if sys.gettrace() else 1)
    _promise(
        first.cpu_seconds <= budget,
        f"{room.slug}: smoke took {first.cpu_seconds:.1f} CPU-s, the budget is {budget:.0f}",
    )
    same = [
        a == b for a, b in zip(first.observations, second.observations, strict=True) if a.repeat != "timed"
    ]
    _promise(all(same), f"{room.slug}: smoke gave other seeded observations in another process")
    _promise(all(r.verdict is None for r in first.results), f"{room.slug}: smoke gave a verdict")
    return first


def nulls_do_not_hold(room: Room, seeds: int = 5) -> None:
    """At smoke size: with the control in both arms nothing holds; with the arms swapped what held does not.

    Chance alone makes one null claim in forty hold, and a fixed seed makes that one hold for ever. A claim
    that holds is therefore measured once more on other seeds: a fault holds again, chance does not.
    """
    subject = room.subject()
    held: set[str] = set()
    for first in (2000, 3000):
        null = run_check(subject, "smoke", seeds=range(first, first + seeds), engine="inline", null=True)
        results = judge(subject.claims, null.observations, statistics=_statistics(room))
        now = {result.claim.id for result in results if result.verdict == "holds"}
        held = now if first == 2000 else held & now
        if not held:
            break
    _promise(not held, f"{room.slug}: {', '.join(sorted(held))} holds with the control in both arms")
    path = room.record_path("laptop")
    record = read_record(path) if path.is_file() else null
    for before, after in zip(
        record.results, judge(subject.claims, _swapped(record), statistics=_statistics(room)), strict=True
    ):
        _promise(
            not (before.verdict == after.verdict == "holds") or _one_armed(before.claim),
            f"{room.slug}/{before.claim.id} still holds with its arms swapped",
        )


def _one_armed(claim: Any) -> bool:
    return all(clause.kind in ("absolute", "exact", "equivalent") for clause in claim.clauses)


def _statistics(room: Room) -> Any:
    return getattr(importlib.import_module(f"{room.package}.check"), "STATISTICS", None)


def _swapped(record: Record) -> list[Any]:
    """The record's observations with treatment and control of every two-armed clause exchanged."""
    exchange = {}
    for result in record.results:
        for clause in result.claim.clauses:
            if clause.control:
                exchange[clause.id, clause.treatment] = clause.control
                exchange[clause.id, clause.control] = clause.treatment
    return [o.model_copy(update={"arm": exchange.get((o.clause, o.arm), o.arm)}) for o in record.observations]


PROMISES: tuple[Callable[[Room], Any], ...] = (
    imports_are_light,
    card_is_measured,
    features_are_proven,
    library_keeps_to_itself,
    public_names_are_documented,
    errors_are_ours,
    command_helps,
    smoke_repeats_within_budget,
    nulls_do_not_hold,
)


def check_room(room: Room, *, tests: Path | None = None) -> None:
    """Hold `room` to every promise; raises `AssertionError` naming the first that it does not keep.

    Args:
        room: from `firsthand.catalogue.rooms.find_room`.
        tests: the checkout that test names in `features.toml` are relative to; None skips looking there.
    """
    for promise in PROMISES:
        if promise is features_are_proven:
            features_are_proven(room, tests)
        else:
            promise(room)
