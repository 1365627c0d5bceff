"""The first schema: made from the tables as they stand until the first release."""

from __future__ import annotations

from alembic import op

from lumper.store.schema import HEAD
from lumper.store.tables import made_for, metadata

revision = HEAD
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    connection = op.get_bind()
    made_for(connection.dialect.name).create_all(connection)


def downgrade() -> None:
    """Drop all tables."""
    metadata.drop_all(op.get_bind())
