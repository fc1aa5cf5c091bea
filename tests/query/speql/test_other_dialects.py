"""Trino, Snowflake, Redshift and BigQuery: SQL is written in their words and never run on them.

What is tested is transpilation: what would be sent parses in the dialect, and, carried over to DuckDB and run there,
says what it should.
"""

import duckdb
import pytest
import sqlglot

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.equality import difference
from firsthand.query.speql.matching import rewrite
from firsthand.query.speql.plan import plan_views
from firsthand.query.speql.random_queries import draw_query, draw_world, edited
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.views import View, filling

DIALECTS = ("trino", "snowflake", "redshift", "bigquery")


def _over(sql, read, write):
    return sqlglot.transpile(sql, read=read, write=write)[0].replace("TEXT(MAX)", "TEXT")


def _schema(world, dialect):
    return Schema.of(
        {
            table.name: {
                column.name: sqlglot.exp.DataType.build(column.type, dialect="duckdb").sql(dialect=dialect)
                for column in table.columns
            }
            for table in world.schema.tables
        },
        dialect=dialect,
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_would_be_sent_says_what_it_should(dialect):
    served = 0
    for seed in range(2):
        world = draw_world(seed)
        schema = _schema(world, dialect)
        with duckdb.connect() as connection:
            for statement in world.statements:
                connection.execute(statement)

            def run(sql, connection=connection):
                return connection.execute(sql).to_arrow_table()

            for number in range(8):
                lines = draw_query(world, number)
                texts = ["\n".join(lines), "\n".join(edited(lines, number))]
                statement = Statement.read(_over(texts[0], "duckdb", dialect), schema)
                views = []
                for place, vertex in enumerate(plan_views(statement)):
                    sql = filling(vertex.definition, dialect)
                    name = f"v_{seed}_{number}_{place}"
                    connection.execute(f"CREATE TABLE {name} AS {_over(sql, dialect, 'duckdb')}")
                    types = tuple(row[1] for row in connection.execute(f"DESCRIBE {name}").fetchall())
                    rows = connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
                    views.append(View(place, vertex.definition, name, types, rows, (8.0,) * len(types)))
                for plain in texts:
                    target = _over(plain, "duckdb", dialect)
                    found = rewrite(Statement.read(target, schema), views)
                    if found is None:
                        continue
                    served += 1
                    assert isinstance(sqlglot.parse_one(found.sql, read=dialect), sqlglot.exp.Query)
                    direct = run(plain)
                    answered = run(_over(found.sql, dialect, "duckdb")).rename_columns(direct.schema.names)
                    wrong = difference(plain, direct, answered, run)
                    assert not wrong, f"{wrong}\n--- asked\n{target}\n--- would run\n{found.sql}"
    assert served > 12
