"""Soundness, tried: random queries typed line by line, edited, and answered from every view made on the way.

For each random world: tables in memory, queries in it; every prefix that is a query by itself has all its views made.
Then every prefix, the query and two edits of it are answered from each prefix's views, from all together and from each
kind alone, and compared with the text run as it is. Nothing here guesses or schedules: more views are offered to the
matcher than any session would hold.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.equality import difference
from firsthand.query.speql.matching import rewrite
from firsthand.query.speql.plan import plan_views
from firsthand.query.speql.random_queries import World, draw_query, draw_world, edited
from firsthand.query.speql.schema import width_of
from firsthand.query.speql.views import Answer, Groups, Rows, View, filling

__all__ = ["Outcome", "prove_world"]

_LIMIT_S = 2.0  # of a random query; its tables have up to a hundred rows


@dataclass(frozen=True)
class Outcome:
    """What was tried.

    Attributes:
        pairs: of a prefix that was typed and a text that was asked after it.
        served: answers that came from views, also those from views of several prefixes.
        differences: of answers that were not the text's own: the seed, the text, what ran, and how they differ.
    """

    pairs: int = 0
    served: int = 0
    differences: tuple[str, ...] = ()

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.pairs + other.pairs, self.served + other.served, self.differences + other.differences
        )


def prove_world(seed: int, *, queries: int = 5) -> Outcome:
    """Draw one world and `queries` queries, and compare every answer; deterministic in `seed`."""
    import duckdb

    world = draw_world(seed)
    connection = duckdb.connect(":memory:", config={"threads": 1})
    try:
        for statement in world.statements:
            connection.execute(statement)
        found = Outcome()
        for number in range(queries):
            found = found + _prove_query(world, connection, seed, 1000 * seed + number)
        return found
    finally:
        connection.close()


def _prove_query(world: World, connection: Any, seed: int, number: int) -> Outcome:
    lines = draw_query(world, number)
    prefixes = ["\n".join(lines[:count]) for count in range(1, len(lines) + 1)]
    edits = ["\n".join(edited(lines, number + shift)) for shift in (0, 500)]
    made: dict[str, View] = {}
    held = [views for prefix in prefixes if (views := _views(world, connection, prefix, made))]
    found = Outcome()
    for text in dict.fromkeys([*prefixes, *edits]) if held else ():
        if _runs(connection, text):
            found = found + _compare(world, connection, text, held, f"world {seed}, query {number}")
    for view in made.values():
        connection.execute(f"DROP TABLE {view.name}")
    return found


def _runs(connection: Any, text: str) -> bool:
    """Whether a text is a query by itself, and one that ends soon: a random one may join everything with everything."""
    import duckdb

    late = threading.Timer(_LIMIT_S, connection.interrupt)
    late.start()
    try:
        connection.execute(f"SELECT count(*) FROM ({text})")
    except duckdb.Error:
        return False
    finally:
        late.cancel()
    return True


def _views(world: World, connection: Any, text: str, made: dict[str, View]) -> list[View]:
    """Views of a text, each made once (`made`, by key)."""
    statement = Statement.read(text, world.schema)
    if statement.unknown or not _runs(connection, text):
        return []
    found = []
    for vertex in plan_views(statement):
        if vertex.key not in made:
            number = len(made)
            name = f"v_{number}"
            connection.execute(f"CREATE TABLE {name} AS {filling(vertex.definition, 'duckdb')}")
            types = tuple(row[1] for row in connection.execute(f"DESCRIBE {name}").fetchall())
            ((rows,),) = connection.execute(f"SELECT count(*) FROM {name}").fetchall()
            widths = tuple(map(width_of, types))
            made[vertex.key] = View(number, vertex.definition, name, types, rows, widths, key=vertex.key)
        found.append(made[vertex.key])
    return found


def _compare(world: World, connection: Any, text: str, held: list[list[View]], place: str) -> Outcome:
    """A text, answered after each prefix, after all of them, and from what is not the smallest of its kind."""

    def run(sql: str) -> Any:
        return connection.execute(sql).to_arrow_table()

    direct = run(text)
    statement = Statement.read(text, world.schema)
    every = list({view.key: view for views in held for view in views}.values())
    kinds = [[view for view in every if isinstance(view.definition, kind)] for kind in (Rows, Groups, Answer)]
    served = 0
    differences = []
    seen: dict[str, str] = {}
    for views in [*held, every, *kinds]:
        found = rewrite(statement, views)
        if found is None:
            continue
        served += 1
        if found.sql not in seen:
            answer = run(found.sql).rename_columns(direct.column_names)
            seen[found.sql] = difference(text, direct, answer, run)
            if seen[found.sql]:
                differences.append(f"{place}: {seen[found.sql]}\n{text}\nran as\n{found.sql}")
    return Outcome(len(held), served, tuple(differences))
