"""The database of the audit log: today's tables, to which `migrations` lead, and how it is opened."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from guardrail.audit.failures import failure
from guardrail.audit.migrate import migrate
from guardrail.errors import AuditError, ConfigurationError

_metadata = MetaData()
decisions = Table(
    "decisions",
    _metadata,
    Column("id", String(64), primary_key=True),
    Column("time", Float, nullable=False),  # seconds since 1970, when it was first recorded
    Column("updated", Float, nullable=False),
    Column("action", String(8), nullable=False),
    Column("severity", Integer, nullable=False),  # of the action, to sort by
    Column("enforced", Boolean, nullable=False),
    Column("reasons", Text, nullable=False),  # codes, each between two commas, to search
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
overrides = Table(
    "overrides",
    _metadata,
    Column("image_sha256", String(64), primary_key=True),
    Column("action", String(8), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
)


class Database:
    """An open database of decisions and overrides: its connections, and transactions on them.

    Args:
        url_or_path: SQLAlchemy's URL, or the path of a SQLite file, made if it is missing.

    Raises:
        ConfigurationError: not a URL that SQLAlchemy reads, or its driver is not installed.
        AuditError: it cannot be opened, or its tables are a newer version's or somebody else's.
    """

    def __init__(self, url_or_path: str | Path) -> None:
        given = str(url_or_path)
        url = given if "://" in given else f"sqlite:///{given}"
        try:
            dialect = make_url(url).get_backend_name()
            self._engine = create_engine(url, pool_pre_ping=dialect != "sqlite", hide_parameters=True)
        except (ArgumentError, ValueError) as error:
            raise ConfigurationError(
                "the audit log is no path and no database URL that SQLAlchemy knows, such as sqlite:///audit.db or "
                "postgresql+psycopg://…"
            ) from error
        except ImportError as error:
            raise ConfigurationError(f"the audit log's database needs {error.name}: install it") from error
        if dialect == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
        try:
            migrate(self._engine, _metadata)
        except SQLAlchemyError as error:
            self.close()
            raise failure("opened", error) from None
        except AuditError:
            self.close()
            raise

    def __repr__(self) -> str:
        return repr(self._engine.url.render_as_string(hide_password=True))

    @contextmanager
    def transaction(self, what: str) -> Iterator[Connection]:
        """Open a transaction.

        Args:
            what: what cannot be done if it fails: "the audit log cannot be {what}".

        Raises:
            AuditError: the database failed.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise failure(what, error) from error

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Let readers and one writer work at the same time, and writers wait for each other."""
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA synchronous=NORMAL")
    give_up = time.monotonic() + 10.0
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:  # who changes the mode of a new file is not let wait by the time-out
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - no secret
        else:
            return
