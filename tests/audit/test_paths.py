"""A path is a path, memory is one log for all threads, a file that was lost is noticed, and other databases refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from guardrail import Decision, Guard, InputImage, Policy, Reason
from guardrail.audit import AuditLog, Overrides
from guardrail.errors import AuditError, ConfigurationError
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

WHITE = InputImage(np.full((4, 4, 3), 255, np.uint8))


@pytest.mark.parametrize("name", ["audit?1.db", "a#b.db", "50%20.db", "x:y@z.db", "file:audit.db?mode=ro", "é 🍵.db"])
def test_a_path_is_that_very_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (name, tmp_path / name):
        with AuditLog(path) as log:
            log.record(Decision())
    with AuditLog(name) as log:
        assert len(list(log.find())) == 2
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("where", [":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_log_in_memory_is_one_for_all_threads(where: str) -> None:
    with AuditLog(where) as log, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.record(Decision(client=str(number))), range(100)))
        assert len(list(log.find())) == 100
        for record in log.find():
            log.record(record.decision)
            assert log.get(record.decision.id) is not None
        overrides = Overrides(log)
        pool.submit(overrides.add, "0" * 64, "block", "r", datetime(2100, 1, 1, tzinfo=UTC)).result()
        assert len(overrides.in_force()) == 1


def delete(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def replace(path: Path) -> None:
    delete(path)
    AuditLog(path).close()


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def delete_what_stands_beside(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


@pytest.mark.parametrize("lose", [delete, replace, move, delete_what_stands_beside])
def test_a_file_that_was_lost_is_noticed(lose: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "audit.db"
    with AuditLog(path) as log:
        strict = Guard(HalfSpaceVLM(0.0), ORACLE, policy=Policy(audit_required=True), audit=log)
        assert not strict.check(WHITE, "?").blocked
        lose(path)  # type: ignore[operator]
        if lose is not delete_what_stands_beside:
            with pytest.raises(AuditError, match=r"read.*audit\.db is lost"):
                list(log.find())
        with pytest.raises(AuditError, match=r"written.*audit\.db is lost.*restart"):
            log.record(Decision())
        if lose is delete:
            assert not path.exists(), "no empty file is left in its place"
            assert strict.check(WHITE, "?").reasons == (Reason.AUDIT_REQUIRED,)
            assert not Guard(HalfSpaceVLM(0.0), ORACLE, audit=log).check(WHITE, "?").blocked
            assert "was not recorded" in caplog.text


def test_a_file_that_is_put_back_is_written_to_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    with AuditLog(path) as log:
        log.record(Decision(client="before"))
        move(path)
        with pytest.raises(AuditError):
            log.record(Decision())
        path.with_name("moved.db").rename(path)
        log.record(Decision(client="after"))
    with AuditLog(path) as log:
        assert {record.decision.client for record in log.find()} == {"before", "after"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://user:hunter2@host/log", "'mysql'.*postgresql.*sqlite"),
        ("mysql+pymysql://user:hunter2@host/log", "'mysql'.*postgresql.*sqlite"),
        ("mariadb+mariadbconnector://user:hunter2@host/log", "'mariadb'.*postgresql.*sqlite"),
        ("oracle://user:hunter2@host/log", "'oracle'.*postgresql.*sqlite"),
        ("postgres://user:hunter2@host/log", "'postgres'.*postgresql"),
        ("postgresql+asyncpg://user:hunter2@host/log", "asyncpg.*asyncio.*psycopg"),
        ("sqlite+aiosqlite:///audit.db", "aiosqlite.*asyncio.*sqlite:///"),
        ("postgresql+nonsense://user:hunter2@host/log", "no path and no database URL"),
        ("sqlite:///audit.db?hunter2=1", "option.*path alone"),
        ("sqlite:///audit?1.db", "option.*path alone"),
        ("", "empty"),
        ("  ", "empty"),
    ],
)
def test_what_cannot_hold_the_log_is_refused_by_name(
    url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=said) as caught:
        AuditLog(url)
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
