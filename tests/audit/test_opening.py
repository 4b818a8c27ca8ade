"""A log opens, whichever version wrote it and however many processes open it at once, or says why not."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, make_url

from guardrail import Action, Decision, Reason, Verdict
from guardrail.audit import AuditLog, Overrides
from guardrail.errors import AuditError
from tests.kit.at_once import AtOnce
from tests.kit.databases import ENGINES, database, restore, run

WHITE, BLACK = "2a96036f6db9f70bf277a8bf6a1d01e8e20ca416ff5227c681b4422b973c8fda", "8e6acf5a351a97e53b29b18a4192944de5ac5953da7a0b59892e0788696f49af"
FAR = datetime(2100, 1, 1, tzinfo=UTC)
PROCESSES, ROUNDS = 12, 4

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


def assert_the_old_log_is_whole(log: AuditLog) -> None:
    """Nothing that the fixture's version recorded is lost, and all of it can be found by what it was about."""
    answered, overridden = sorted(log.find(client="alice"), key=lambda record: record.time)
    (harmful,) = log.find(client="bob")
    assert answered.decision.reasons == (Reason.ANSWER_HARMFUL,)
    assert answered.decision.session == "s"
    assert answered.decision.tags == ("t", "u")
    assert answered.time < answered.updated
    assert answered.decision.certificate is not None
    assert answered.decision.certificate.verdict is Verdict.HARMLESS
    assert answered.decision.certificate.image_sha256 == (WHITE,)
    assert [record.decision.id for record in log.find(reason="certified_harmful")] == [harmful.decision.id]
    assert harmful.decision.certificate is not None
    assert harmful.decision.certificate.verdict is Verdict.HARMFUL
    assert [record.decision.id for record in log.find(reason="overridden")] == [overridden.decision.id]
    assert "a copyright claim" in overridden.decision.details[0]
    (flagged,) = log.find(action=Action.FLAG)
    assert flagged.decision.client == 'it\'s 100 % \\ "Zoë"'
    assert log.get("f" * 32) == flagged
    assert log.get("a" * 32) is not None
    said = {override.image_sha256: (override.action, override.reason) for override in Overrides(log).in_force()}
    assert (said[WHITE], said[BLACK]) == (("block", "a copyright claim"), ("allow", "a false alarm"))


@each_engine
def test_a_log_from_before_migrations_opens_with_all_its_decisions_and_overrides(engine: str, tmp_path: Path) -> None:
    with database(engine, tmp_path, old=True) as url:
        for _ in range(2):
            with AuditLog(url) as log:
                assert_the_old_log_is_whole(log)
        with AuditLog(url) as log:
            log.record(Decision(client="new"))
            assert len(list(log.find())) == 6


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
