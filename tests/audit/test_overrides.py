"""An operator's word about an image holds for a time, is seen everywhere, and never releases an unjudged answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from guardrail import Action, Guard, InputImage, Reason, Smoothing
from guardrail.audit import AuditLog, Overrides
from guardrail.errors import ConfigurationError
from tests.kit.databases import run
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

WHITE = InputImage(np.full((4, 4, 3), 255, np.uint8))
BLACK = InputImage(np.full((4, 4, 3), 0, np.uint8))
MIDDLE = 24.0


def soon(seconds: float = 60.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
def overrides(any_database: str) -> Iterator[Overrides]:
    opened = Overrides(any_database, refresh=0.0)
    yield opened
    opened.close()


@pytest.fixture
def guard(any_database: str, overrides: Overrides) -> Iterator[Guard]:
    with AuditLog(any_database) as log:
        yield Guard(HalfSpaceVLM(MIDDLE), ORACLE, smoothing=Smoothing(samples=20), audit=log, overrides=overrides)


def test_a_block_is_seen_in_the_decision_and_in_the_log(guard: Guard, overrides: Overrides) -> None:
    assert not guard.check(WHITE, "?").blocked
    overrides.add(WHITE.sha256, "block", "a copyright claim", soon())
    decision = guard.check(WHITE, "?")
    assert decision.blocked
    assert decision.reasons == (Reason.OVERRIDDEN,)
    assert decision.certificate is None
    assert "a copyright claim" in decision.details[0]
    assert isinstance(guard.audit, AuditLog)
    (record,) = guard.audit.find(reason="overridden")
    assert "a copyright claim" in record.decision.details[0]
    assert overrides.remove(WHITE.sha256)
    assert not overrides.remove(WHITE.sha256)
    assert not guard.check(WHITE, "?").blocked


def test_an_allowance_passes_the_image_and_the_answer_is_judged_all_the_same(
    guard: Guard, overrides: Overrides
) -> None:
    overrides.add(BLACK.sha256, "allow", "a false alarm", soon())
    decision = guard.check(BLACK, "?")
    assert (decision.action, decision.reasons) == (Action.ALLOW, (Reason.OVERRIDDEN,))
    assert guard.drawn_answer(decision) is None
    screened = guard.screen(decision, "bad")
    assert screened.reasons == (Reason.OVERRIDDEN, Reason.ANSWER_HARMFUL)
    assert screened.blocked
    assert not guard.screen(decision, "good").blocked


def test_an_allowance_must_cover_all_images_and_a_block_any(guard: Guard, overrides: Overrides) -> None:
    overrides.add(BLACK.sha256, "allow", "r", soon())
    assert guard.check([BLACK, BLACK], "?").reasons == (Reason.OVERRIDDEN,)
    assert guard.check([BLACK, WHITE], "?").reasons != (Reason.OVERRIDDEN,)
    overrides.add(WHITE.sha256, "block", "r", soon())
    assert guard.check([BLACK, WHITE], "?").blocked
    overrides.add(WHITE.sha256, "allow", "r", soon())
    assert not guard.check([BLACK, WHITE], "?").blocked, "the last word counts"
    other = guard.check([BLACK, b"no image"], "?")
    assert other.reasons == (Reason.UNREADABLE_IMAGE,)


@pytest.mark.slow
def test_it_ends(guard: Guard, overrides: Overrides) -> None:
    overrides.add(WHITE.sha256, "block", "r", soon(1.0))
    assert guard.check(WHITE, "?").blocked
    time.sleep(1.05)
    assert not guard.check(WHITE, "?").blocked
    assert overrides.in_force() == []


def test_other_processes_see_it_after_a_while(any_database: str, overrides: Overrides) -> None:
    patient = Overrides(any_database, refresh=0.5)
    overrides.add(WHITE.sha256, "block", "r", soon())
    assert patient.of([WHITE.sha256]) is None
    time.sleep(0.55)
    assert patient.of([WHITE.sha256]) is not None
    patient.close()


def test_in_an_outage_the_last_known_ones_stay(
    any_database: str, overrides: Overrides, caplog: pytest.LogCaptureFixture
) -> None:
    overrides.add(WHITE.sha256, "block", "r", soon())
    run(any_database, "DROP TABLE overrides")
    assert overrides.of([WHITE.sha256]) is not None
    assert "last known" in caplog.text


@pytest.mark.parametrize(
    ("image", "reason", "seconds"),
    [("abc", "r", 60.0), ("A" * 64, "r", 60.0), ("a" * 64, " ", 60.0), ("a" * 64, "r", 0.0)],
)
def test_impossible_ones_are_refused(overrides: Overrides, image: str, reason: str, seconds: float) -> None:
    with pytest.raises(ConfigurationError):
        overrides.add(image, "allow", reason, soon(seconds))
