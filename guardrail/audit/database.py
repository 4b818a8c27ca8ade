"""The database of the audit log: its tables, and how it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, SQLAlchemyError

from guardrail.errors import AuditError, ConfigurationError

SCHEMA_VERSION = 1
"""Raised whenever a table changes; a database of another version is refused, not misread."""

_metadata = MetaData()
schema = Table("guardrail_schema", _metadata, Column("version", Integer, primary_key=True, autoincrement=False))
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


def connect(url_or_path: str | Path) -> Engine:
    """Open a database, and make its tables where they are missing.

    Args:
        url_or_path: SQLAlchemy's URL, or the path of a SQLite file, made if it is missing.

    Raises:
        ConfigurationError: not a URL that SQLAlchemy reads, or its driver is not installed.
        AuditError: it cannot be opened, or is of another version.
    """
    given = str(url_or_path)
    url = given if "://" in given else f"sqlite:///{given}"
    try:
        dialect = make_url(url).get_backend_name()
        engine = create_engine(url, pool_pre_ping=dialect != "sqlite", hide_parameters=True)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "the audit log is no path and no database URL that SQLAlchemy knows, such as sqlite:///audit.db or "
            "postgresql+psycopg://…"
        ) from error
    except ImportError as error:
        raise ConfigurationError(f"the audit log's database needs {error.name}: install it") from error
    if dialect == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        _metadata.create_all(engine)
        _check_version(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        away = isinstance(error, OperationalError)
        remedy = "check that it can be reached and written to" if away else "is it a database of decisions?"
        raise AuditError(f"the audit log cannot be opened ({type(error).__name__}): {remedy}") from None
    except AuditError:
        engine.dispose()
        raise
    return engine


@contextmanager
def connected(engine: Engine, what: str) -> Iterator[Connection]:
    """Open a transaction.

    Args:
        engine: from `connect`.
        what: what cannot be done if it fails: "the audit log cannot be {what}".

    Raises:
        AuditError: the database failed.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise AuditError(f"the audit log cannot be {what}: {type(error).__name__}") from error


def _prepare_sqlite(connection: object, _record: object) -> None:
    """Let readers and one writer work at the same time, and writers wait for each other."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _check_version(engine: Engine) -> None:
    with engine.connect() as connection:
        found = list(connection.scalars(select(schema.c.version)))
    if not found:
        with suppress(IntegrityError), engine.begin() as connection:  # another process may just have done it
            connection.execute(insert(schema).values(version=SCHEMA_VERSION))
    elif found != [SCHEMA_VERSION]:
        raise AuditError(
            f"the audit log has schema version {found}, this guardrail writes {SCHEMA_VERSION}: name another file"
        )
