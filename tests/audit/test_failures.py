"""An error of the database says what was wrong and what to do, and holds no secret."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from guardrail import Decision
from guardrail.audit import AuditLog, Overrides
from guardrail.errors import AuditError
from tests.kit.databases import database, run


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to be taken for one" * 20)
    with pytest.raises(AuditError, match=r"opened .*no SQLite database"):
        AuditLog(tmp_path / "text.db")


def test_a_folder_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"opened .*folder exists"):
        AuditLog(tmp_path / "no folder" / "a.db")


def test_a_file_that_may_only_be_read_is_read_and_said_to_be_so(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "audit.db") as log:
        log.record(Decision())
    with AuditLog(f"sqlite:///file:{tmp_path}/audit.db?mode=ro&uri=true") as log:
        assert len(list(log.find())) == 1
        with pytest.raises(AuditError, match=r"written .*read-only"):
            log.record(Decision())


def test_tables_that_have_gone_are_said_to_have(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "audit.db") as log:
        run(f"sqlite:///{tmp_path}/audit.db", "DROP TABLE decisions")
        with pytest.raises(AuditError, match=r"read .*tables"):
            list(log.find())
    with database("postgresql", tmp_path) as url, AuditLog(url) as log:
        run(url, "DROP TABLE decisions")
        with pytest.raises(AuditError, match=r"read .*tables"):
            list(log.find())


@pytest.mark.slow
@pytest.mark.long
def test_a_lock_that_is_not_given_up_is_named(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "audit.db") as log, closing(sqlite3.connect(tmp_path / "audit.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AuditError, match=r"written .*locked"):
            log.record(Decision())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"port": 1}, "cannot be reached"),
        ({"database": "no such database"}, "name of the database"),
        ({"username": "nobody", "password": "hunter2"}, "user, password"),
    ],
)
def test_a_server_that_does_not_let_us_in_is_no_wrong_database(
    change: dict[str, object], named: str, tmp_path: Path
) -> None:
    with database("postgresql", tmp_path) as url, pytest.raises(AuditError, match=named) as caught:
        AuditLog(make_url(url).set(**change).render_as_string(hide_password=False))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("role=pg_monitor", "user may not.*owner"),
        ("default_transaction_read_only=on", "takes no writes.*standby"),
    ],
)
def test_rights_that_are_missing_are_named_only_where_they_are_needed(option: str, named: str, tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url:
        run(url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        limited = make_url(url).update_query_dict({"options": f"-c{option}"}).render_as_string(hide_password=False)
        with pytest.raises(AuditError, match=f"opened .*{named}"):
            AuditLog(limited)
        AuditLog(url).close()
        run(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO pg_monitor")
        with AuditLog(limited) as log:
            assert list(log.find()) == []
            with pytest.raises(AuditError, match=f"written .*{named}"):
                log.record(Decision())


def test_a_log_opens_to_who_may_not_read_the_record_of_migrations(tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url:
        AuditLog(url).close()
        run(url, "GRANT SELECT ON decisions, overrides TO pg_monitor")
        limited = make_url(url).update_query_dict({"options": "-crole=pg_monitor"}).render_as_string(False)
        with AuditLog(limited) as log:
            assert list(log.find()) == []
            assert Overrides(log).in_force() == []
            with pytest.raises(AuditError, match=r"written .*user may not"):
                log.record(Decision())
        run(url, "GRANT INSERT, UPDATE ON decisions TO pg_monitor")
        with AuditLog(limited) as log:
            log.record(Decision())
            assert len(list(log.find())) == 1
        run(url, "ALTER TABLE decisions DROP COLUMN radius")
        with pytest.raises(AuditError, match=r"no column decisions\.radius.*let the owner"):
            AuditLog(limited)
        run(url, "DROP TABLE decisions")
        with pytest.raises(AuditError, match=r"no table decisions.*let the owner"):
            AuditLog(limited)


def test_no_password_is_shown(tmp_path: Path) -> None:
    with database("postgresql", tmp_path) as url, AuditLog(make_url(url).set(password="hunter2")) as log:
        assert "hunter2" not in repr(log)
        assert "***" in repr(log)
