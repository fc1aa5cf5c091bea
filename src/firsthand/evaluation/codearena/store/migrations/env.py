"""Alembic's entry: runs the migrations on the connection that `database.upgrade` holds, in its transaction."""

from alembic import context

from firsthand.errors import InputError
from firsthand.evaluation.codearena.store.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise InputError("an arena is migrated by opening it: Arena.open(url), or firsthand codearena serve")
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
