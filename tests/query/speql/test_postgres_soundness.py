"""Random queries and edits on a real PostgreSQL: speculative tables answer what the tables themselves answer."""

from collections import Counter

import pytest

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.equality import difference
from firsthand.query.speql.errors import QueryFailed
from firsthand.query.speql.matching import rewrite
from firsthand.query.speql.plan import plan_views
from firsthand.query.speql.random_queries import draw_query, draw_world, edited
from firsthand.query.speql.schema import width_of
from firsthand.query.speql.sqlalchemy_engine import SQLAlchemyEngine
from firsthand.query.speql.views import View, filling


def _in_postgres(sql: str) -> str:
    return sql.replace(" DOUBLE", " DOUBLE PRECISION")


def _views(statement, connection):
    found = []
    for number, vertex in enumerate(plan_views(statement)):
        filled = connection.fill(number, filling(vertex.definition, "postgres"))
        widths = tuple(map(width_of, filled.types))
        found.append(
            View(number, vertex.definition, filled.name, filled.types, filled.rows, widths, key=vertex.key)
        )
    return found


def _check(engine, connection, text, later, counts):
    """Fill the views of one text, and compare it and its edit with what they answer."""
    try:
        connection.describe(text)
        connection.describe(later)
    except QueryFailed:  # FULL JOIN on what is no equality: PostgreSQL has no such join
        counts["refused"] += 1
        return
    statement = Statement.read(text, engine.schema, volatile=engine.volatile)
    assert not statement.unknown, f"{statement.unknown}\n{text}"
    views = _views(statement, connection)
    try:
        for target in (text, later):
            read = Statement.read(target, engine.schema, volatile=engine.volatile)
            alone = [[view] for view in views]
            for some in (views, *alone):
                found = rewrite(read, some)
                counts["asked"] += 1
                if found is None:
                    continue
                counts["served"] += 1
                direct = connection.query(target)
                answered = connection.query(found.sql).rename_columns(direct.schema.names)
                wrong = difference(target, direct, answered, connection.query, dialect="postgres")
                assert not wrong, f"{wrong}\n--- asked\n{target}\n--- ran\n{found.sql}"
    finally:
        for view in views:
            connection.drop(view.name)


def _compare(postgres_url, admin, worlds, queries):
    counts = Counter()
    engine = SQLAlchemyEngine(postgres_url)
    connection = engine.connect()
    try:
        for seed in worlds:
            world = draw_world(seed)
            admin.execute("DROP TABLE IF EXISTS t0, t1, t2, t3")
            for statement in world.statements:
                admin.execute(_in_postgres(statement))
            engine.refresh()
            for number in queries:
                lines = draw_query(world, number)
                text = "\n".join(lines)
                later = "\n".join(edited(lines, number))
                _check(engine, connection, _in_postgres(text), _in_postgres(later), counts)
                counts["pairs"] += 1
    finally:
        engine.close()
    return counts


def test_random_queries_and_edits_are_answered_as_the_tables_answer_them(postgres_url, admin):
    counts = _compare(postgres_url, admin, range(16), range(10))
    assert counts["pairs"] == 160
    assert counts["refused"] < 40
    assert counts["served"] > 300


@pytest.mark.long
def test_many_random_queries_and_edits_are_answered_as_the_tables_answer_them(postgres_url, admin):
    counts = _compare(postgres_url, admin, range(100, 180), range(25))
    assert counts["pairs"] == 2000
