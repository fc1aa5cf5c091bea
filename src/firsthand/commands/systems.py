"""`firsthand list | show | cite | digest`: what the catalogue knows."""

from __future__ import annotations

import typer

from firsthand.catalogue.verbs import cite_command, digest_read_command, list_command, show_command

__all__ = ["cite_command", "digest", "list_command", "show_command"]

digest = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Read a digest of papers into entries."
)
digest.command("read")(digest_read_command)


@digest.callback()
def _root() -> None:
    """Read a digest of papers into entries."""
