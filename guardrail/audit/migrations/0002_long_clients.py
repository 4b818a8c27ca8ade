"""The index by client holds the beginning of its name: PostgreSQL has no room in an index for one of any length."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import text

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    """Make the index anew."""
    op.drop_index("decisions_by_client", "decisions", if_exists=True)  # an operator may have dropped it
    op.create_index("decisions_by_client", "decisions", [text("substr(client, 1, 64)"), "time"])
