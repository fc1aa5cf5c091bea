"""Views made by hand, for tests of what may answer what."""

from __future__ import annotations

from typing import Any

import duckdb

from firsthand.query.speql.blocks import Statement
from firsthand.query.speql.matching import Rewrite, rewrite
from firsthand.query.speql.plan import plan_views
from firsthand.query.speql.schema import Schema, width_of
from firsthand.query.speql.views import Definition, View, filling


class Bench:
    """An in-memory database, its schema, and views of queries in it."""

    def __init__(self, *statements: str) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        for statement in statements:
            self.connection.execute(statement)
        tables: dict[str, dict[str, str]] = {}
        for table, column, kind in self.connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        ).fetchall():
            tables.setdefault(table, {})[column] = kind
        self.schema = Schema.of(tables)
        self.made = 0

    def read(self, sql: str) -> Statement:
        found = Statement.read(sql, self.schema)
        assert not found.unknown, found.unknown
        return found

    def run(self, sql: str) -> Any:
        return self.connection.execute(sql).to_arrow_table()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()

    def view(self, definition: Definition) -> View:
        self.made += 1
        name = f"v_{self.made}"
        self.connection.execute(f"CREATE TABLE {name} AS {filling(definition, 'duckdb')}")
        types = tuple(row[1] for row in self.rows(f"DESCRIBE {name}"))
        count = self.rows(f"SELECT count(*) FROM {name}")[0][0]
        return View(self.made, definition, name, types, count, tuple(map(width_of, types)))

    def views(self, sql: str, *kinds: str) -> list[View]:
        """Every view that would be made for a query, or those of some kinds."""
        return [self.view(v.definition) for v in plan_views(self.read(sql)) if not kinds or v.kind in kinds]

    def served(self, made_for: str, asked: str, *kinds: str) -> Rewrite | None:
        """`asked` over the views of `made_for`; the rows are compared with those of `asked` itself."""
        found = rewrite(self.read(asked), self.views(made_for, *kinds))
        if found is not None:
            mine, theirs = self.run(found.sql), self.run(asked)
            assert mine.schema.types == theirs.schema.types
            assert sorted(self.rows(found.sql), key=repr) == sorted(self.rows(asked), key=repr)
        return found
