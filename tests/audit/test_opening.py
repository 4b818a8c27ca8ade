"""A log opens, whichever version wrote it and however many processes open it at once, or says why not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from guardrail import Decision
from guardrail.audit import AuditLog, Overrides
from guardrail.audit.database import decisions
from guardrail.errors import AuditError
from tests.kit.at_once import AtOnce
from tests.kit.databases import ENGINES, database, run
from tests.kit.old_log import assert_the_old_log_is_whole

FAR = datetime(2100, 1, 1, tzinfo=UTC)
PROCESSES, ROUNDS = 12, 3

each_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture(scope="module")
def workers() -> Iterator[AtOnce]:
    with AtOnce(PROCESSES, __name__) as workers:
        yield workers


def open_and_use(index: int, url: str) -> int:
    """Open a log, at once record and read, and say how many decisions were there."""
    with AuditLog(url) as log:
        log.record(Decision(client=f"worker {index}"))
        Overrides(log).add(f"{index:064x}", "block", f"worker {index}", FAR)
        return len(list(log.find()))


@each_engine
def test_a_log_from_before_migrations_opens_with_all_its_decisions_and_overrides(engine: str, tmp_path: Path) -> None:
    with database(engine, tmp_path, old=True) as url:
        for _ in range(2):
            with AuditLog(url) as log:
                assert_the_old_log_is_whole(log)
        with AuditLog(url) as log:
            log.record(Decision(client="new"))
            assert len(list(log.find())) == 6


@pytest.mark.slow
@each_engine
@pytest.mark.parametrize("old", [False, True], ids=["fresh", "from before migrations"])
def test_processes_that_start_together_all_open_the_log_and_record(
    engine: str, old: bool, tmp_path: Path, workers: AtOnce
) -> None:
    for _ in range(ROUNDS):
        with database(engine, tmp_path, old=old) as url:
            workers.call(open_and_use, url)
            with AuditLog(url) as log:
                clients = {record.decision.client for record in log.find()}
                assert {f"worker {index}" for index in range(PROCESSES)} <= clients
                assert len(Overrides(log).in_force()) == PROCESSES + 2 * old
                if old:
                    assert_the_old_log_is_whole(log)


def test_threads_that_open_a_new_log_at_once_all_open_it(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def open_it(_: int) -> int:
        barrier.wait()
        with AuditLog(tmp_path / "audit.db") as log:
            return len(list(log.find()))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(open_it, range(8))) == [0] * 8


def test_who_writes_a_file_that_is_not_yet_in_wal_mode_is_waited_for(tmp_path: Path) -> None:
    with database("sqlite", tmp_path, old=True) as url:
        writer = create_engine(url).connect()
        writer.exec_driver_sql("BEGIN IMMEDIATE")
        threading.Timer(0.5, writer.close).start()
        with AuditLog(url) as log:
            assert_the_old_log_is_whole(log)


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")  # in SQLite: see
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")  # test_strangers.py
@each_engine
def test_migrations_lead_to_the_tables_that_the_code_uses(engine: str, tmp_path: Path) -> None:
    with database(engine, tmp_path) as url:
        AuditLog(url).close()
        opened = create_engine(url)
        with opened.connect() as connection:
            ours = {"include_name": lambda name, kind, _: kind != "table" or name in decisions.metadata.tables}
            context = MigrationContext.configure(connection, opts=ours)
            assert compare_metadata(context, decisions.metadata) == []
        opened.dispose()


POSTGRESQL = [
    "ALTER TABLE decisions ALTER COLUMN certificate TYPE JSONB",
    "ALTER TABLE decisions ALTER COLUMN client TYPE VARCHAR(200), ALTER COLUMN action TYPE TEXT",
    "ALTER TABLE decisions ALTER COLUMN severity TYPE BIGINT, ALTER COLUMN time TYPE NUMERIC",
    "ALTER TABLE decisions ALTER COLUMN updated DROP NOT NULL",
    "ALTER TABLE decisions ADD CONSTRAINT theirs UNIQUE (id, time)",
    (
        "CREATE TABLE origins (name VARCHAR PRIMARY KEY);"
        "ALTER TABLE decisions ADD FOREIGN KEY (source) REFERENCES origins (name) NOT VALID"
    ),
    "ALTER TABLE decisions ADD COLUMN number BIGINT GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE decisions ADD COLUMN twice FLOAT NOT NULL GENERATED ALWAYS AS (time + time) STORED",
]
BOTH = [
    "CREATE INDEX theirs ON decisions (radius)",
    "CREATE UNIQUE INDEX theirs ON decisions (id, time)",
    "ALTER TABLE decisions ADD COLUMN site TEXT",
    "ALTER TABLE decisions ADD COLUMN site TEXT NOT NULL DEFAULT 'here'",
]
SQLITE = [
    (
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = "
        "replace(replace(sql, 'client TEXT', 'client VARCHAR(200)'), 'action VARCHAR(8)', 'action TEXT')"
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "change"),
    [
        *(("sqlite", change) for change in BOTH + SQLITE),
        *(("postgresql", change) for change in BOTH + POSTGRESQL),
    ],
)
def test_a_log_that_an_operator_has_added_to_opens_and_is_written(engine: str, change: str, tmp_path: Path) -> None:
    with database(engine, tmp_path, old=True) as url:
        run(url, change)
        for _ in range(2):
            with AuditLog(url) as log:
                assert_the_old_log_is_whole(log)
        with AuditLog(url) as log:
            log.record(Decision(client="new", tags=("t",)))
            (found,) = log.find(client="new")
            assert found.decision.tags == ("t",)


OVERRIDES = "DROP TABLE overrides; CREATE TABLE overrides (image_sha256 VARCHAR(64) PRIMARY KEY, "


@pytest.mark.slow
@each_engine
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE decisions DROP COLUMN verdict", "no column decisions.verdict"),
        (
            f"{OVERRIDES} action VARCHAR(8), reason TEXT, created FLOAT, expires FLOAT, owner TEXT NOT NULL)",
            "column overrides.owner that must be filled",
        ),
        (f"{OVERRIDES} action VARCHAR(8), reason TEXT, created TEXT, expires FLOAT)", "type TEXT of overrides.created"),
        (
            f"{OVERRIDES} action VARCHAR(4), reason TEXT, created FLOAT, expires FLOAT)",
            r"type VARCHAR\(4\) of overrides.action",
        ),
        (
            (
                "DELETE FROM decisions; ALTER TABLE decisions DROP COLUMN radius;"
                "ALTER TABLE decisions ADD COLUMN radius FLOAT NOT NULL DEFAULT 0"
            ),
            "column decisions.radius that must be filled",
        ),
        (
            "DROP TABLE overrides; DROP TABLE guardrail_schema; DROP TABLE decisions; CREATE TABLE decisions (id TEXT)",
            r"\(decisions\).*name another file or database, or give the log a schema",
        ),
        (
            (
                "DROP TABLE overrides; CREATE VIEW overrides AS SELECT '' AS image_sha256, '' AS action, '' AS reason,"
                "0.0 AS created, 0.0 AS expires"
            ),
            "of overrides",
        ),
        (
            "DROP TABLE guardrail_schema; CREATE TABLE guardrail_schema (version INTEGER NOT NULL)",
            "another key of guardrail_schema",
        ),
        ("UPDATE guardrail_schema SET version = 99", "99.*name another log"),
    ],
)
def test_tables_of_our_names_that_cannot_be_used_are_refused_and_left_alone(
    engine: str, change: str, named: str, tmp_path: Path
) -> None:
    with database(engine, tmp_path, old=True) as url:
        run(url, change)
        for _ in range(2):
            with pytest.raises(AuditError, match=named):
                AuditLog(url)


@pytest.mark.slow
@each_engine
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
@pytest.mark.parametrize(
    "left",
    [
        "DELETE FROM guardrail_schema",
        "DROP TABLE guardrail_schema",
        "DROP INDEX decisions_by_time",
        "DROP TABLE overrides; DELETE FROM guardrail_schema",
        "DROP TABLE overrides; DROP TABLE guardrail_schema; DROP INDEX decisions_by_client",
        "DROP TABLE decisions; DROP TABLE guardrail_schema",
    ],
)
def test_a_log_whose_maker_was_stopped_half_way_is_completed(engine: str, left: str, tmp_path: Path) -> None:
    with database(engine, tmp_path, old=True) as url:
        run(url, left)
        with AuditLog(url) as log:
            assert len(list(log.find())) == (0 if "DROP TABLE decisions" in left else 5)
            assert len(Overrides(log).in_force()) == (0 if "DROP TABLE overrides" in left else 2)
            log.record(Decision(client="new"))
            Overrides(log).add("0" * 64, "block", "r", FAR)
        opened = create_engine(url)
        with opened.connect() as connection:
            ours = {"include_name": lambda name, kind, _: kind != "table" or name in decisions.metadata.tables}
            assert compare_metadata(MigrationContext.configure(connection, opts=ours), decisions.metadata) == []
            assert connection.exec_driver_sql("SELECT version FROM guardrail_schema").all() == [(1,)]
        opened.dispose()


@each_engine
@pytest.mark.parametrize("gone", ["decisions", "overrides"])
def test_a_log_that_is_recorded_as_current_and_has_lost_a_table_is_refused(
    engine: str, gone: str, tmp_path: Path
) -> None:
    with database(engine, tmp_path) as url:
        AuditLog(url).close()
        run(url, f"DROP TABLE {gone}")
        with pytest.raises(AuditError, match=f"no table {gone}.*restore"):
            AuditLog(url)


@pytest.mark.slow
@pytest.mark.long
def test_a_migration_of_another_process_that_hangs_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with database("postgresql", tmp_path, old=True) as url:
        opened = create_engine(url)
        with opened.connect() as other:
            other.exec_driver_sql(f"SELECT pg_advisory_lock({int.from_bytes(b'audit')})")
            other.exec_driver_sql("SET idle_in_transaction_session_timeout = '20s'")  # so that a failure ends
            with pytest.raises(AuditError, match=r"opened .*locked"):
                AuditLog(url)
        opened.dispose()
        with AuditLog(url) as log:
            assert_the_old_log_is_whole(log)


@each_engine
def test_other_tables_in_the_database_do_not_matter(engine: str, tmp_path: Path) -> None:
    with database(engine, tmp_path) as url:
        run(
            url, "CREATE TABLE alembic_version (version_num VARCHAR(32)); INSERT INTO alembic_version VALUES ('theirs')"
        )
        run(url, "CREATE TABLE users (id INTEGER PRIMARY KEY)")
        with AuditLog(url) as log:
            log.record(Decision())
        with AuditLog(url) as log:
            assert len(list(log.find())) == 1


def test_opening_leaves_the_applications_logging_and_its_own_migrations_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = nowhere\n[loggers]\nkeys = nonsense\n")
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("alembic").level, logging.getLogger("theirs").disabled)
    theirs = create_engine("sqlite://")
    with theirs.connect() as connection, Operations.context(MigrationContext.configure(connection)):
        AuditLog(tmp_path / "audit.db").close()
        op.execute("CREATE TABLE theirs (id INTEGER)")
        assert op.get_bind() is connection
    theirs.dispose()
    assert before == (
        (root.level, list(root.handlers), logging.getLogger("alembic").level, logging.getLogger("theirs").disabled)
    )


def test_overrides_use_the_connections_of_an_open_log(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "audit.db") as log:
        shared = Overrides(log)
        shared.add("0" * 64, "block", "r", FAR)
        shared.close()
        assert [override.reason for override in Overrides(tmp_path / "audit.db").in_force()] == ["r"]
    with AuditLog("sqlite://") as memory:
        Overrides(memory).add("0" * 64, "block", "r", FAR)
        assert [override.reason for override in Overrides(memory).in_force()] == ["r"]


@each_engine
def test_an_index_that_an_operator_has_dropped_hinders_no_migration(engine: str, tmp_path: Path) -> None:
    with database(engine, tmp_path) as url:
        AuditLog(url).close()
        run(url, "DROP INDEX decisions_by_client; UPDATE guardrail_migrations SET version_num = '0001'")
        with AuditLog(url) as log:
            assert list(log.find(client="anybody")) == []
