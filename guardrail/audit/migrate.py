"""Brings the log's database to today's tables, whoever wrote it and however many processes open it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Engine,
    Enum,
    Float,
    Inspector,
    Integer,
    MetaData,
    Numeric,
    String,
    column,
    func,
    insert,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.types import TypeEngine

from guardrail.errors import AuditError

VERSION_TABLE = "guardrail_migrations"
"""Not alembic's own name: an application may keep its tables, and its migrations, in the same database."""
_FOLDER = Path(__file__).with_name("migrations")
_LOCK = int.from_bytes(b"audit")  # of PostgreSQL's locks by number, any that is not likely to be another program's
_KINDS = ((String,), (Float, Numeric), (Integer,), (Boolean,), (JSON,))  # within a kind, databases convert
_ELSE = "name another file or database, or give the log a schema of its own"


def migrate(engine: Engine, today: MetaData) -> None:
    """Make the tables, or change those of an earlier version to today's; in one transaction, one process at a time.

    Alembic's `command` and `op` are not used: they hold state of the whole process, and the application that opens the
    log may be running migrations of its own.

    Args:
        engine: of the database.
        today: the tables that the migrations lead to.

    Raises:
        AuditError: a newer version wrote the database, it has lost a table, or its tables of the log's names cannot be
            used.
        SQLAlchemyError: the database failed.
    """
    scripts = ScriptDirectory(_FOLDER, version_locations=[_FOLDER])
    with engine.connect() as connection:
        if not _may_read_record(connection):  # then the tables themselves must say whether they are today's
            _require(connection, today, "let the owner of the tables open the log, to migrate it")
            return
        if _revision(connection, scripts) == scripts.get_current_head():
            if gone := _missing(connection, today):
                raise _unusable(gone, f"restore the database from a copy, or {_ELSE}")
            return
    with _alone(engine) as connection:
        found = _revision(connection, scripts) or _unrecorded(connection, scripts)
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        for script in reversed([*scripts.iterate_revisions("head", found or "base")]):
            script.module.upgrade(Operations(context))
        context.stamp(scripts, "head")


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that excludes those of other processes that migrate, tables included."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # sqlite3 would begin a transaction at the first INSERT, not at CREATE TABLE; and one that begins by reading
            # is not let wait when it comes to write.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif engine.dialect.name == "postgresql":
            # Behind a change of a table that waits for a reader, all writers wait: better to give up. As is waiting for
            # another process's migration that hangs.
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        yield connection


def _may_read_record(connection: Connection) -> bool:
    """Say whether the user may read which migrations were made, if that is recorded."""
    if connection.dialect.name != "postgresql" or not inspect(connection).has_table(VERSION_TABLE):
        return True
    return bool(connection.scalar(select(func.has_table_privilege(VERSION_TABLE, "SELECT"))))


def _revision(connection: Connection, scripts: ScriptDirectory) -> str | None:
    """Return the last migration that was made; None where none is recorded.

    Raises:
        AuditError: it is none of ours.
    """
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(select(table(VERSION_TABLE, column("version_num"))))
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        raise AuditError(
            f"the audit log was written by a newer guardrail: its tables are at migration {found!r}, this version "
            f"knows them up to {scripts.get_current_head()!r}: upgrade certified-guardrail, or name another log"
        )
    return found


def _unrecorded(connection: Connection, scripts: ScriptDirectory) -> str | None:
    """Return the migration that a database without a record is at; None where it has no tables of ours.

    What is missing of the first migration's tables is made: who began them may have been stopped.

    Raises:
        AuditError: it has some that cannot be used.
    """
    start = scripts.get_base()
    first = scripts.get_revision(str(start)).module
    tables: MetaData = first.tables
    if len(_missing(connection, tables)) == len(tables.tables):
        return None
    if faults := [*_faults(connection, tables)]:
        names = ", ".join(name for name in sorted(tables.tables) if inspect(connection).has_table(name))
        raise _unusable(faults, f"put that right if they are the log's own ({names}), else {_ELSE}")
    for ours in tables.sorted_tables:
        ours.create(connection, checkfirst=True)
        for index in ours.indexes:
            index.create(connection, checkfirst=True)
    versions = list(connection.scalars(select(first.schema)))
    if not versions:
        connection.execute(insert(first.schema).values(version=1))
    elif versions != [1]:
        raise AuditError(f"the audit log has schema version {versions}, this guardrail knows 1: name another log")
    return start


def _require(connection: Connection, expected: MetaData, remedy: str) -> None:
    """Raise AuditError where a table is missing, or cannot be used."""
    if faults := [*_missing(connection, expected), *_faults(connection, expected)]:
        raise _unusable(faults, remedy)


def _unusable(faults: list[str], remedy: str) -> AuditError:
    told = f"{', '.join(faults[:5])}{', …' if len(faults) > 5 else ''}"
    return AuditError(f"the audit log cannot be opened: its database's tables cannot be used ({told}): {remedy}")


def _missing(connection: Connection, expected: MetaData) -> list[str]:
    return [f"no table {name}" for name in sorted(expected.tables) if not inspect(connection).has_table(name)]


def _faults(connection: Connection, expected: MetaData) -> Iterator[str]:
    """Say why the tables that are there could not be used as those expected; what an operator has added is no fault."""
    inspector: Inspector = inspect(connection)
    for name, ours in sorted(expected.tables.items()):
        if not inspector.has_table(name):
            continue
        found = {one["name"]: one for one in inspector.get_columns(name)}
        for one in ours.columns:
            if one.name not in found:
                yield f"no column {name}.{one.name}"
            elif not _holds(found[one.name]["type"], one):
                yield f"type {found[one.name]['type']} of {name}.{one.name}"
            elif one.nullable and not found[one.name]["nullable"]:  # a default does not help: we write NULL
                yield f"column {name}.{one.name} that must be filled"
        for more in found.keys() - ours.columns.keys():
            filled = found[more]["nullable"] or found[more].get("default") is not None
            if not filled and not found[more].get("identity") and not found[more].get("computed"):
                yield f"column {name}.{more} that must be filled"
        if set(inspector.get_pk_constraint(name)["constrained_columns"]) != {one.name for one in ours.primary_key}:
            yield f"another key of {name}"


def _holds(found: TypeEngine[Any], ours: Column[Any]) -> bool:
    """Say whether a column of the type found can hold what is written to ours."""
    kind = next(kind for kind in _KINDS if isinstance(ours.type, kind))
    if not isinstance(found, kind) or isinstance(found, Enum):
        return False
    needed, there = getattr(ours.type, "length", None), getattr(found, "length", None)
    return needed is None or there is None or there >= needed
