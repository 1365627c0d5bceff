"""How Alembic reaches the database: the connection that it is given, one transaction."""

from __future__ import annotations

from alembic import context

from lumper.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
