"""Brings the log's database to today's tables, whoever wrote it and however many processes open it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, column, func, inspect, select, table, text

from guardrail.errors import AuditError

VERSION_TABLE = "guardrail_migrations"
"""Not alembic's own name: an application may keep its tables, and its migrations, in the same database."""
_FOLDER = Path(__file__).with_name("migrations")
_LOCK = int.from_bytes(b"audit")  # of PostgreSQL's locks by number, any that is not likely to be another program's
_WORDS = {"add": "no", "remove": "another", "modify": "another"}  # what alembic would do, as what was found


def migrate(engine: Engine) -> None:
    """Make the tables, or change those of an earlier version to today's; in one transaction, one process at a time.

    Alembic's `command` and `op` are not used: they hold state of the whole process, and the application that opens the
    log may be running migrations of its own.

    Raises:
        AuditError: a newer version wrote the database, or it holds tables of the log's names in another shape.
        SQLAlchemyError: the database failed.
    """
    scripts = ScriptDirectory(_FOLDER, version_locations=[_FOLDER])
    with engine.connect() as connection:
        if _revision(connection, scripts) == scripts.get_current_head():
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
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            # Behind a change of a table that waits for a reader, all writers wait: better to give up.
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        yield connection


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

    Raises:
        AuditError: it has some, and not exactly those of the first migration.
    """
    start = scripts.get_base()
    first: MetaData = scripts.get_revision(str(start)).module.tables
    there = [name for name in sorted(first.tables) if inspect(connection).has_table(name)]
    if not there:
        return None
    differences = list(_differences(connection, first))
    if differences:
        raise AuditError(
            f"the audit log cannot be opened: its database has tables of the log's names ({', '.join(there)}) that no "
            f"guardrail has made ({', '.join(differences[:5])}{', …' if len(differences) > 5 else ''}): name another "
            "file or database, or give the log a schema of its own"
        )
    versions = list(connection.scalars(select(table("guardrail_schema", column("version")))))
    if versions not in ([], [1]):  # none: its maker was stopped before it had written the number
        raise AuditError(f"the audit log has schema version {versions}, this guardrail knows 1: name another log")
    return start


def _differences(connection: Connection, expected: MetaData) -> Iterator[str]:
    """Say how the tables of a database differ from those that are expected, whatever others it has."""
    ours = {"include_name": lambda name, kind, _parents: kind != "table" or name in expected.tables}
    found = compare_metadata(MigrationContext.configure(connection, opts=ours), expected)
    for verb, *where in (change for entry in found for change in (entry if isinstance(entry, list) else [entry])):
        done, part = verb.split("_", 1)
        names = [str(getattr(one, "name", one)) for one in where[:3] if one is not None]
        yield f"{_WORDS.get(done, done)} {part} {'.'.join(names)}"
    for name in expected.tables.keys() & set(inspect(connection).get_table_names()):  # which alembic does not compare
        key = inspect(connection).get_pk_constraint(name)["constrained_columns"]
        if key != [one.name for one in expected.tables[name].primary_key]:
            yield f"another key {name}"
