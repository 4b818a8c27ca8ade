"""The database of the audit log: today's tables, to which `migrations` lead, and how it is opened."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    URL,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    QueuePool,
    String,
    Table,
    Text,
    create_engine,
    event,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from guardrail.audit.failures import failure
from guardrail.audit.migrate import migrate
from guardrail.audit.sqlite_file import LostFileError, SQLiteFile
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
    Index("decisions_by_client", text("substr(client, 1, 64)"), "time"),
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


_SERVER, _LOCAL = "postgresql+psycopg://user:password@host/database", "sqlite:///audit.db"
_NO_URL = f"the audit log is no path and no database URL that SQLAlchemy knows, such as {_LOCAL} or {_SERVER}"
_NO_OPTION = (
    "the audit log's URL has an option that its driver does not take: leave it out; where it is the path of a file, "
    "pass the path alone, without sqlite:///"
)
_SQLITE_OPTIONS = {"cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout", "uri"}


class Database:
    """An open database of decisions and overrides: its connections, and transactions on them.

    It may be used in processes that are forked from the one that opened it: each makes connections of its own.

    Args:
        url_or_path: SQLAlchemy's URL of SQLite or PostgreSQL, which begins with a scheme and `://`; anything else is
            the path of a SQLite file, made if it is missing; `:memory:` is kept in this process alone.

    Raises:
        ConfigurationError: not a URL that can be used, or its driver is not installed.
        AuditError: it cannot be opened, or its tables are a newer version's or somebody else's.
    """

    def __init__(self, url_or_path: str | Path | URL) -> None:
        self._pid = os.getpid()
        self._inherited: list[object] = []
        self._file: SQLiteFile | None = None
        url = _url(url_or_path)
        sqlite = url.get_backend_name() == "sqlite"
        self.in_memory = sqlite and _in_memory(url)
        """Whether it is gone with this process."""
        options: dict[str, Any] = {"pool_pre_ping": not sqlite}
        if self.in_memory:  # a connection of one's own would find no tables: all threads take turns with one
            shared = {"check_same_thread": False}
            options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "connect_args": shared}
        try:
            self._engine = create_engine(url, hide_parameters=True, **options)
        except ImportError as error:
            raise ConfigurationError(f"the audit log's database needs {error.name}: install it") from error
        except (ArgumentError, TypeError, ValueError) as error:
            raise ConfigurationError(_NO_URL) from error
        if sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
        try:
            migrate(self._engine, _metadata)
            with self._engine.connect() as connection:
                self._file = SQLiteFile.of(connection)
        except (AuditError, ConfigurationError):
            self.close()
            raise
        except SQLAlchemyError as error:
            self.close()
            raise failure("opened", error) from None
        except (TypeError, ValueError) as error:  # the driver's, of what stands behind the question mark
            self.close()
            raise ConfigurationError(f"{_NO_OPTION} ({type(error).__name__})") from None

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
        if self._pid != os.getpid():
            self._begin_in_child()
        try:
            if self._file is not None:
                self._file.require(what)
            with self._engine.begin() as connection:
                yield connection
                if self._file is not None:
                    self._file.require(what, written=what == "written")
        except LostFileError:
            self._engine.dispose()  # what is put back is opened anew
            raise
        except SQLAlchemyError as error:
            raise failure(what, error) from error

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _begin_in_child(self) -> None:
        """Leave the connections to the process that made them: to close them here would close them there."""
        self._pid = os.getpid()
        if self.in_memory:  # its memory was copied with the process
            return
        self._inherited.append(self._engine.pool)  # or they would be closed when they are collected
        self._engine.dispose(close=False)


def _url(given: str | Path | URL) -> URL:
    """Return the URL; what has no scheme is a path, whatever signs are in it.

    Raises:
        ConfigurationError: it names no file, or a database that cannot hold the log.
    """
    if isinstance(given, str) and re.match(r"[A-Za-z][\w+.-]+://", given):
        options = "?" in given
        try:
            given = make_url(given)
        except (ArgumentError, ValueError) as error:
            raise ConfigurationError(_NO_URL) from error
        if given.get_backend_name() == "sqlite" and options and not (given.query.keys() & _SQLITE_OPTIONS):
            raise ConfigurationError(_NO_OPTION)
    if not isinstance(given, URL):
        if not str(given).strip():
            raise ConfigurationError("the audit log's path is empty: name a file, or :memory: for a log without one")
        return URL.create("sqlite", database=str(given))
    backend = given.get_backend_name()
    if backend not in {"sqlite", "postgresql"}:
        raise ConfigurationError(
            f"the audit log cannot be kept in {backend!r}: it needs PostgreSQL ({_SERVER}) or SQLite (a path, or "
            f"{_LOCAL})"
        )
    try:
        waits = not given.get_dialect().is_async
    except ArgumentError as error:
        raise ConfigurationError(_NO_URL) from error
    if not waits:
        raise ConfigurationError(
            f"the audit log's driver {given.drivername!r} is for asyncio, and decisions are recorded in threads: "
            f"write {_LOCAL} or {_SERVER}"
        )
    return given


def _in_memory(url: URL) -> bool:
    return (url.database or ":memory:").endswith(":memory:") or url.query.get("mode") == "memory"


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
