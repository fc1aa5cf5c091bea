"""`firsthand`: finds the house verb or the room by the word typed, and loads nothing else.

A room's command module is imported only when its slug is typed, so `--help` stays quick and a room with
a missing extra never stands in another's way.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from firsthand.errors import FirsthandError, NotFoundError

__all__ = ["app", "main"]

# Typer brings its own copy of click since 0.26 and took the package before: ask Typer for the class.
ClickException: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

# verb → module of `firsthand.commands` and the Typer application or function in it
HOUSE = {
    "list": ("systems", "list_command"),
    "show": ("systems", "show_command"),
    "cite": ("systems", "cite_command"),
    "digest": ("systems", "digest"),
    "check": ("check", "check_command"),
    "report": ("report", "report_command"),
    "doctor": ("doctor", "doctor_command"),
    "cache": ("cache", "cache"),
}


def _as_click(target: Any, name: str) -> Any:
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name=name)(target)
        target = single
    command = typer.main.get_command(target)
    command.name = name
    return command


class Rooms(TyperGroup):
    """House verbs by name, rooms by slug, each loaded when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The house's verbs; rooms are named below the help text without loading them."""
        return list(HOUSE)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command behind a word, or None where there is neither verb nor room of that name."""
        if cmd_name in HOUSE:
            module, attribute = HOUSE[cmd_name]
            return _as_click(
                getattr(importlib.import_module(f"firsthand.commands.{module}"), attribute), cmd_name
            )
        from firsthand.catalogue.rooms import find_room

        try:
            room = find_room(cmd_name)
        except NotFoundError as error:
            raise ClickException(f"{error}\nHouse verbs: {', '.join(HOUSE)}.") from error
        if not room.has_command:
            raise ClickException(
                f"{room.slug} ({room.card.name}) is planned: it has no command yet. `firsthand show {room.slug}` "
                "tells what it will be."
            )
        return _as_click(room.module("command").app, room.slug)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Name the rooms that have a command, from their cards and folders alone."""
        from firsthand.catalogue.rooms import all_rooms

        slugs = [room.slug for room in all_rooms() if room.has_command]
        formatter.write_paragraph()
        formatter.write_text(f"Rooms (firsthand SLUG --help): {', '.join(slugs) or 'none yet'}.")


app = typer.Typer(
    cls=Rooms,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="27 systems from one day's AI papers: a method to call, a check that measures the claim again, a way up.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from firsthand import __version__

        typer.echo(f"firsthand {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, warnings only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done, to stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    from firsthand.commands import progress

    progress.quiet = quiet
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("firsthand")
    logger.handlers[:] = [handler]
    logger.setLevel(level)


def main(arguments: list[str] | None = None) -> None:
    """Run the command: 0 when it ran, 2 for a user's mistake (one line, no traceback), 130 on Ctrl-C."""
    try:
        code = app(args=arguments, standalone_mode=False)
    except typer.Exit as error:
        code = error.exit_code
    except ClickException as error:
        error.show()
        code = 2
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("\ninterrupted; what had finished is kept where --out or the cache says\n")
        code = 130
    except FirsthandError as error:
        sys.stderr.write(f"error: {error}\n")
        code = 2
    except BrokenPipeError:
        sys.stderr.close()  # the reader (head, less) has gone; that is not our failure
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
