"""Pages ask the database as often, and cost no more, where there are many submissions."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import event, insert, select
from starlette.testclient import TestClient

from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.store import tables
from firsthand.evaluation.codearena.store.standing import rescore
from firsthand.evaluation.codearena.store.texts import new_sid

from .conftest import add_problem
from .pages_helpers import PEOPLE, client_of

PAGES = (
    "/", "/?intervals=1", "/problem/", "/problem/p000", "/submission/", "/submission/?verdict=AC&user=m07",
    "/submission/?page=150", "/submission/{sid}", "/user/m07", "/compare?a=m01&b=m02", "/leakage", "/data", "/about",
)  # fmt: skip


def fill(arena: Arena, models: int, problems: int) -> None:
    """Every model's judged attempt at every problem, written in bulk."""
    for number in range(problems):
        add_problem(arena, f"p{number:03}")
    for number in range(models):
        arena.accounts.create(f"m{number:02}", "llm")
    at = arena.clock()
    rows, judged = [], []
    with arena.database.write() as connection:
        accounts = (
            connection.execute(select(tables.account.c.id).order_by(tables.account.c.id)).scalars().all()
        )
        pids = connection.execute(select(tables.problem.c.id).order_by(tables.problem.c.id)).scalars().all()
        for p, problem_id in enumerate(pids):
            for m, account_id in enumerate(accounts):
                number = len(rows) + 1
                right = (m * 7 + p * 13) % 40 < m + 3
                shared = {
                    "version": 1, "verdict": "AC" if right else "WA", "counted": True,
                    "cpu_ms": 10.0 + (m * 31 + p * 17) % 97, "wall_ms": 50.0, "peak_kb": 9000, "spread_ms": 0.0,
                    "message": "", "host": "h", "host_class": "c", "judged_at": at + timedelta(seconds=number),
                }  # fmt: skip
                rows.append(
                    {
                        "id": number, "sid": new_sid(), "account_id": account_id, "problem_id": problem_id,
                        "language": "python", "source": f"print({number})\n" * 40, "sha256": f"{number:064}",
                        "holds_attempt": True, "extra": False, "state": "done",
                        "created_at": at + timedelta(seconds=number), **shared,
                    }
                )  # fmt: skip
                judged.append({"submission_id": number, **shared})
        connection.execute(insert(tables.submission), rows)
        connection.execute(insert(tables.judgement), judged)
        for problem_id in pids:
            rescore(connection, problem_id)
    arena.checkpoint()


@contextmanager
def counted(arena: Arena) -> Iterator[list[str]]:
    said: list[str] = []

    def note(connection, cursor, statement, *rest) -> None:
        said.append(statement)

    event.listen(arena.database.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(arena.database.engine, "before_cursor_execute", note)


def queries(arena: Arena, client: TestClient, path: str) -> int:
    with counted(arena) as said:
        assert client.get(path).status_code == 200
    return len([one for one in said if one.lstrip().upper().startswith("SELECT")])


def test_questions_to_the_database_are_few_and_as_many_for_more(small, clock):
    fill(small, 10, 6)
    clock.move(days=1)
    client = client_of(small, reads_per_minute=1e9)
    client.headers.update(PEOPLE)
    changes = itertools.count()

    def both(path: str) -> tuple[int, int]:
        """After a change, when boards have to be drawn anew, and after that."""
        add_problem(small, f"r{next(changes)}")
        return queries(small, client, path), queries(small, client, path)

    sid = small.submissions.page()[0][0].sid
    paths = [path.replace("{sid}", sid).replace("150", "2") for path in PAGES]
    for path in paths:
        queries(small, client, path)
    before = {path: both(path) for path in paths}
    assert max(first for first, _ in before.values()) <= 16
    assert max(again for _, again in before.values()) <= 8
    for number in range(30):  # more people, problems and submissions
        add_problem(small, f"q{number:03}")
        small.accounts.create(f"ann{number}", "human")
        small.submit(f"ann{number}", f"q{number:03}", "python", "AC 1")
    for path in paths:
        first, again = both(path)
        assert first <= before[path][0], path
        assert again <= before[path][1], path


def test_a_page_costs_no_more_where_there_are_more_submissions(small, sqlite_template, tmp_path, clock):
    """Processor time with 2,000 submissions against 60: lists show a page of either."""
    shutil.copy(sqlite_template, tmp_path / "large.db")
    with Arena.open(f"sqlite:///{tmp_path}/large.db", clock=clock) as large:
        fill(small, 10, 6)
        fill(large, 25, 80)
        clock.move(days=1)
        few, many = (_costs(arena) for arena in (small, large))
    for path, cost in many.items():
        assert cost < 5 * few[path] + 0.02, path


def _costs(arena: Arena) -> dict[str, float]:
    client = client_of(arena, reads_per_minute=1e9)
    paths = ("/submission/", "/submission/?verdict=AC", "/submission/?page=2", "/problem/p000", "/user/m07")
    return {path: _cost(client, path) for path in paths}


def _cost(client: TestClient, path: str) -> float:
    assert client.get(path).status_code == 200
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        client.get(path, headers=PEOPLE)
        best = min(best, time.process_time() - start)
    return best
