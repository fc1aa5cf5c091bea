"""`firsthand cache list|clear`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from firsthand.launch.cache import cache_entries, cache_root, clear_cache

__all__ = ["cache"]

cache = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What was assembled or harvested once and is kept."
)


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


@cache.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the cache's folder and what lies in it."""
    entries = cache_entries()
    if as_json:
        rows = [{"name": e.name, "files": e.files, "bytes": e.size} for e in entries]
        typer.echo(json.dumps({"root": str(cache_root()), "entries": rows}, indent=1))
        return
    typer.echo(f"{cache_root()}")
    for entry in entries:
        typer.echo(f"  {entry.name:<20} {entry.files:>6} files {_size(entry.size):>14}")
    typer.echo(
        f"  {'in all':<20} {sum(e.files for e in entries):>6} files {_size(sum(e.size for e in entries)):>14}"
    )


@cache.command("clear")
def clear(
    name: Annotated[str | None, typer.Argument(help="One entry; all of them where it is left out.")] = None,
) -> None:
    """Delete the cache, or one entry of it; it is made again when it is needed."""
    typer.echo(f"deleted {_size(clear_cache(name))}")
