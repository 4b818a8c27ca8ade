"""The tables as they were first written. A log that has them and no record of migrations is taken to be here.

A migration never changes once it is released: the next change of the tables is the next file.
"""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, insert

revision = "0001"
down_revision = None

tables = MetaData()
Table(
    "decisions",
    tables,
    Column("id", String(64), primary_key=True),
    Column("time", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("action", String(8), nullable=False),
    Column("severity", Integer, nullable=False),
    Column("enforced", Boolean, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Column("source", String(16)),
    Column("client", Text),
    Column("session", Text),
    Column("tags", JSON, nullable=False),
    Column("timings", JSON, nullable=False),
    Column("verdict", String(16)),
    Column("radius", Float),
    Column("image_sha256", JSON),
    Column("certificate", JSON),
    Index("decisions_by_action", "severity", "time"),
    Index("decisions_by_time", "time"),
    Index("decisions_by_client", "client", "time"),
)
Table(
    "overrides",
    tables,
    Column("image_sha256", String(64), primary_key=True),
    Column("action", String(8), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
)
# Versions before migrations read this number and refuse any but 1: a change that they must not write to raises it.
schema = Table("guardrail_schema", tables, Column("version", Integer, primary_key=True, autoincrement=False))


def upgrade(op: Operations) -> None:
    """Make the tables."""
    tables.create_all(op.get_bind(), checkfirst=False)
    op.execute(insert(schema).values(version=1))
