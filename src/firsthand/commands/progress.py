"""Progress on stderr for the house's verbs: figures go to stdout, everything else here."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

__all__ = ["bar"]

quiet = False  # set once by the root command's -q


@contextlib.contextmanager
def bar(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """A bar over `total` steps on a terminal, plain lines elsewhere; yields `advance(text)`."""
    if quiet:
        yield lambda text: None
        return
    if not sys.stderr.isatty():
        done = 0

        def line(text: str) -> None:
            nonlocal done
            done += 1
            sys.stderr.write(f"{what}: {done}/{total} {text}\n")
            sys.stderr.flush()

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda text: progress.update(task, advance=1, description=f"{what}: {text}")
