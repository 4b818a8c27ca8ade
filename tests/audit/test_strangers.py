"""What strangers choose, of any length and of any signs, is recorded and found again, whatever database it is."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from guardrail import Decision
from guardrail.audit import AuditLog

LETTERS = "".join(chr(code) for code in range(33, 0x3000) if chr(code).isprintable())
LONG = "".join(random.Random(1).choices(LETTERS, k=100_000))
NAMES = [LONG, LONG[:-1], LONG[:3000], LONG[:64], LONG[:65], "é" * 64, "é" * 65, "", " ", "a" * 64 + "%", "🍵" * 3000]


@pytest.fixture
def log(any_database: str) -> Iterator[AuditLog]:
    with AuditLog(any_database) as opened:
        yield opened


def test_names_of_any_length_are_recorded_and_found_exactly(log: AuditLog) -> None:
    for name in NAMES:
        log.record(Decision(client=name, session=name, tags=(name,), details=(name,)))
    for name in NAMES:
        (found,) = log.find(client=name)
        assert (found.decision.client, found.decision.session) == (name, name)
        assert found.decision.tags == found.decision.details == (name,)


@pytest.mark.parametrize("name", ["half\ud800", "\udc80\udc80half", "zero\0", "\ud83c\udf75", "\ud800" * 4000])
def test_what_no_database_holds_is_found_as_it_was_given(log: AuditLog, name: str) -> None:
    log.record(Decision(client=name, session=name, tags=(name,), details=(name,)))
    log.record(Decision(client="other"))
    (found,) = log.find(client=name)
    assert found.decision.session == found.decision.client != "other"
    assert log.get(name) is None


def test_who_is_looked_for_is_looked_up_in_an_index(log: AuditLog) -> None:
    log.record(Decision(client="client 7"))
    engine = log.database._engine
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *call: asked.append(call[2:4]))
    assert len(list(log.find(client="client 7"))) == 1
    ((statement, parameters),) = asked
    with engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN"
        if engine.dialect.name == "postgresql":
            explain = "EXPLAIN"
            connection.exec_driver_sql("SET enable_seqscan = off")  # it would rather read all of one row
            connection.exec_driver_sql("DROP INDEX decisions_by_action")
        plan = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    assert "decisions_by_client" in str(plan)


def test_no_record_is_lost_in_processes_forked_from_one_that_has_used_the_log(any_database: str) -> None:
    children, records = 8, 20
    with AuditLog(any_database) as log:
        log.record(Decision(client="parent"))
        log.record(Decision(client="parent"))
        reading = log.find()
        next(reading)  # at the forks a connection is in use,
        log.record(Decision(client="parent"))  # and another waits in the pool
        pids = []
        for child in range(children):
            pid = os.fork()
            if pid == 0:
                try:
                    for _ in range(records):
                        log.record(Decision(client=f"child {child}"))
                        assert len(list(log.find(client=f"child {child}"))) > 0
                    os._exit(0)
                except BaseException as error:  # noqa: BLE001 - nothing of the tests may run in the child
                    sys.stderr.write(f"{error!r}\n")
                finally:
                    os._exit(1)
            pids.append(pid)
        for _ in range(records):
            log.record(Decision(client="parent"))
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * children
        assert len(list(reading)) == 1
        counts = {
            name: len(list(log.find(client=name))) for name in ("parent", *(f"child {n}" for n in range(children)))
        }
        assert counts == {"parent": records + 3, **{f"child {n}": records for n in range(children)}}
