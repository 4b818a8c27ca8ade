"""Every decision is one row, found again by what it was about."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from guardrail import Action, Decision, Guard, InputImage, Policy, Reason, Smoothing
from guardrail.audit import AuditLog, AuditSink
from guardrail.errors import AuditError, ConfigurationError
from tests.kit.databases import run
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

WHITE = InputImage(np.full((4, 4, 3), 255, np.uint8))
BLACK = InputImage(np.full((4, 4, 3), 0, np.uint8))
MIDDLE = 24.0


@pytest.fixture
def log(any_database: str) -> Iterator[AuditLog]:
    with AuditLog(any_database) as opened:
        yield opened


def made(**fields: object) -> Decision:
    return Decision.model_validate(fields)


@pytest.mark.slow
def test_a_guard_records_and_the_answers_screening_updates(log: AuditLog) -> None:
    assert isinstance(log, AuditSink)
    guard = Guard(HalfSpaceVLM(MIDDLE), ORACLE, smoothing=Smoothing(samples=20), audit=log)
    decision = guard.check(WHITE, "a private question", client="alice", session="s", tags=["t", "u"])
    guard.check(BLACK, "?", client="bob")
    guard.check([], "?")
    (blocked, *passed) = log.find()
    assert blocked.decision.client == "bob"
    assert blocked.decision.reasons == (Reason.CERTIFIED_HARMFUL,)
    assert [record.decision.id for record in passed][1] == decision.id, "later ones first"
    assert passed[1].decision == decision.model_copy(update={"prompt": None})
    assert passed[1].decision.certificate == decision.certificate
    screened = guard.screen(decision, "bad")
    first, second, third = log.find()
    assert first.decision.id == blocked.decision.id
    assert second.decision == screened.model_copy(update={"prompt": None})
    assert second.decision.reasons == (Reason.ANSWER_HARMFUL,)
    assert second.time == passed[1].time < second.updated
    assert third.decision.certificate is None
    guard.close()


def test_filters(log: AuditLog) -> None:
    start = datetime.now(UTC)
    log.record(made(action="block", reasons=["abstained", "small_radius"], client="a"))
    log.record(made(action="flag", reasons=["small_radius"], client="b"))
    middle = datetime.now(UTC)
    log.record(made(action="allow", client="a%"))

    def clients(**filters: object) -> list[str | None]:
        return [record.decision.client for record in log.find(**filters)]  # type: ignore[arg-type]

    assert clients() == ["a", "b", "a%"]
    assert clients(action="flag") == ["b"]
    assert clients(action=Action.ALLOW) == ["a%"]
    assert clients(reason=Reason.SMALL_RADIUS) == ["a", "b"]
    assert clients(reason="abstained") == ["a"]
    assert clients(client="a") == ["a"]
    assert clients(client="a%") == ["a%"]
    assert clients(since=middle) == ["a%"]
    assert clients(until=middle) == ["a", "b"]
    assert clients(since=start - timedelta(days=2), until=start) == []
    assert clients(since=middle.replace(tzinfo=None)) == ["a%"], "UTC unless it says otherwise"
    assert clients(limit=1) == ["a"]
    with pytest.raises(ValueError, match="typo"):
        clients(reason="typo")


def test_one_decision_by_its_id_or_the_beginning_of_it(log: AuditLog) -> None:
    for name in ("abc1", "abc2", "xyz"):
        log.record(made(id=name))
    found = log.get("xy")
    assert found is not None
    assert found.decision.id == "xyz"
    assert log.get("abc") is None, "two begin so"
    assert log.get("abc1") is not None
    assert log.get("") is None
    assert log.get("%") is None
    assert log.get("nothing") is None


@pytest.mark.slow
def test_many_threads_write_and_read(log: AuditLog) -> None:
    decisions = [made(client=str(i % 3)) for i in range(60)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(log.record, decisions * 3))
        counts = list(pool.map(lambda _: len(list(log.find())), range(12)))
    assert len(list(log.find())) == 60
    assert max(counts) <= 60


def test_two_logs_share_a_file_in_wal_mode(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "a.db") as one, AuditLog(f"sqlite:///{tmp_path}/a.db") as other:
        decision = made()
        one.record(decision)
        other.record(decision.with_reasons({Reason.ANSWER_HARMFUL: Action.BLOCK}))
        assert [record.decision.action for record in one.find()] == ["block"]
        with sqlite3.connect(tmp_path / "a.db") as plain:
            assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert plain.execute("SELECT version FROM guardrail_schema").fetchall() == [(1,)]
        plain.close()


def test_nothing_a_stranger_sends_escapes_the_log(log: AuditLog) -> None:
    strange = made(action="block", client="a\ud800b\0", details=["\udcff"], tags=["'; DROP TABLE decisions; --"])
    log.record(strange)
    (record,) = log.find()
    assert record.decision.action == "block"
    assert record.decision.client == "a?b\ufffd"
    assert record.decision.tags == strange.tags


def test_what_another_version_has_recorded_is_read_as_far_as_it_can_be(log: AuditLog, any_database: str) -> None:
    guard = Guard(HalfSpaceVLM(MIDDLE), ORACLE, audit=log)
    guard.check(BLACK, "?")
    run(any_database, "UPDATE decisions SET reasons = ',certified_harmful,a_new_one,', certificate = '{\"new\": 1}'")
    (record,) = log.find(action="block")
    assert record.decision.reasons == (Reason.CERTIFIED_HARMFUL,)
    assert record.decision.certificate is None
    assert "a_new_one" in record.decision.details[-1]
    guard.close()


def test_failures_are_one_typed_error(log: AuditLog, any_database: str) -> None:
    run(any_database, "DROP TABLE decisions")
    with pytest.raises(AuditError, match="written"):
        log.record(made())
    with pytest.raises(AuditError, match="read"):
        list(log.find())
    strict = Guard(HalfSpaceVLM(MIDDLE), ORACLE, policy=Policy(audit_required=True), audit=log)
    assert strict.check(WHITE, "?").reasons == (Reason.AUDIT_REQUIRED,)
    assert not Guard(HalfSpaceVLM(MIDDLE), ORACLE, audit=log).check(WHITE, "?").blocked


def test_a_database_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to be taken for one" * 20)
    with pytest.raises(AuditError, match="opened"):
        AuditLog(tmp_path / "text.db")
    with pytest.raises(AuditError, match="opened"):
        AuditLog(tmp_path / "no folder" / "a.db")
    with pytest.raises(ConfigurationError, match="sqlite:///"):
        AuditLog("nonsense://user:hunter2@host/db")
    AuditLog(tmp_path / "new.db").close()
    with sqlite3.connect(tmp_path / "new.db") as plain:
        plain.execute("UPDATE guardrail_migrations SET version_num = '0099'")
    plain.close()
    with pytest.raises(AuditError, match=r"newer guardrail.*0099.*upgrade"):
        AuditLog(tmp_path / "new.db")


def test_no_password_is_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        AuditLog("postgresql+nodriver://user:hunter2@host/db")
    assert "hunter2" not in str(caught.value)
