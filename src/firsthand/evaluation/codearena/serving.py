"""Serving an arena until it is interrupted: first start, pages, judges.

The first start makes an administrator, whose token is told once and never again. Knows the order of things; what they
are is known to `api`, `pages` and `judges`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.demonstration import add_league, add_problems
from firsthand.evaluation.codearena.service.api import create_app, open_arena
from firsthand.evaluation.codearena.settings import ArenaSettings
from firsthand.evaluation.codearena.store.judges import Backend, JudgeSettings, judges_on
from firsthand.serve import serve

__all__ = ["ADMIN", "Started", "first_start", "judge_what_waits", "serve_arena"]

ADMIN = "admin"
_LOOK_S = 0.5


@dataclass(frozen=True)
class Started:
    """What a first start made: `token` is the administrator's; all empty where the arena was there before."""

    token: str = ""
    problems: int = 0
    submissions: int = 0


def first_start(arena: Arena, *, demo: bool) -> Started:
    """Make what a new arena needs; does nothing in one that has accounts.

    Args:
        arena: opened.
        demo: also the bundled problems, and the league of scripted contestants.
    """
    if arena.accounts.page(limit=1)[1]:
        return Started()
    arena.accounts.create(ADMIN, "admin")
    problems = add_problems(arena) if demo else []
    submissions = add_league(arena) if demo else []
    token = arena.accounts.issue(ADMIN, label="first start").secret
    return Started(token, len(problems), len(submissions))


def serve_arena(
    settings: ArenaSettings | None = None,
    *,
    demo: bool | None = None,
    on_ready: Callable[[str, Started], None] | None = None,
) -> None:
    """Serve the API and the pages; for the main thread.

    Args:
        settings: None: SQLite in `arena.db`, one judge, the loopback.
        demo: whether a new arena begins with problems and a league; None: where it is in the default file.
        on_ready: called with the address, and what a first start made, once requests are answered.

    Returns on SIGINT. Raises `InputError` for a database that cannot be used or an address that cannot be taken,
    before anything is served.
    """
    settings = settings or ArenaSettings()
    default = settings.database == ArenaSettings.model_fields["database"].default
    with contextlib.closing(open_arena(settings)) as arena:
        started = first_start(arena, demo=default if demo is None else demo)

        def announce(url: str) -> None:
            if on_ready is not None:
                on_ready(url, started)

        serve(create_app(settings, arena=arena), settings.host, settings.port, on_ready=announce)


def judge_what_waits(
    settings: ArenaSettings,
    concurrency: int = 1,
    *,
    backend: Backend = "local",
    address: str | None = None,
    until_idle: bool = False,
) -> None:
    """Judge what waits in an arena until SIGINT or SIGTERM; for the main thread. Jobs under way are finished.

    Args:
        settings: of these the database, and how it is judged.
        concurrency: jobs at one time.
        backend: processes of this machine ("local"), or tasks on Ray.
        address: of a Ray cluster; None starts one here.
        until_idle: return once nothing waits and nothing is being judged.

    Raises:
        InputError: a database or a backend that cannot be used.
    """
    over = threading.Event()
    before = {
        number: signal.signal(number, lambda number, frame: over.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with (
            contextlib.closing(open_arena(settings)) as arena,
            judges_on(backend, JudgeSettings.of(settings), concurrency, address=address),
        ):
            while not over.wait(_LOOK_S):
                load = arena.queue.load()
                if until_idle and not load.waiting + load.leased:
                    return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
