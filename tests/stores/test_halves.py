"""Halves of characters in an answer keep its certificate out of no store and no log, and nothing is computed twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from langchain_core.stores import InMemoryByteStore

from guardrail import Guard, Policy
from guardrail.audit import AuditLog
from guardrail.models.base import Answer, Draw
from guardrail.stores import CertificateStore, MemoryStore, RedisStore, Signer
from guardrail.stores.langchain import LangChainStore
from tests.kit.databases import database
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, HalfSpaceVLM
from tests.stores.test_outages import SMOOTHING, picture

SIGNER = Signer("a secret of these tests")
HALVES = ["good\ud800", "\udfffgood", "go\ud83cod", "\ud83c\udf75 good \udf75\ud83c"]


class Speaker(HalfSpaceVLM):
    """Says the same to each draw, or fails for the same reason."""

    def __init__(self, text: str, failed: str | None = None) -> None:
        super().__init__(0.0)
        self.said = Answer(text) if failed is None else Answer.failure(failed)

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        return [self.said for _ in draws]


@pytest.fixture(params=["memory", "redis", "langchain"])
def store(request: pytest.FixtureRequest) -> Iterator[CertificateStore]:
    made: CertificateStore
    match request.param:
        case "memory":
            made = MemoryStore()
        case "redis":
            server: RedisServer = request.getfixturevalue("shared_redis")
            made = RedisStore(server.url, signer=SIGNER)
        case _:
            made = LangChainStore(InMemoryByteStore(), signer=SIGNER)
    yield made
    made.close()


@pytest.mark.parametrize("text", HALVES)
def test_such_an_answer_is_stored_and_served_again(text: str, store: CertificateStore) -> None:
    guard = Guard(Speaker(text), ORACLE, smoothing=SMOOTHING, policy=Policy(store_required=True), store=store)
    first, second = (guard.check(picture(200), "?") for _ in range(2))
    assert (first.source, second.source) == ("computed", "hit")
    assert first.certificate == second.certificate
    assert first.certificate is not None
    assert "good" in (first.certificate.answer or "")


@pytest.mark.parametrize("failed", ["filtered\ud800", "\udc00"])
def test_a_reason_of_failed_draws_is_stored_too(failed: str, store: CertificateStore) -> None:
    guard = Guard(Speaker("", failed), ORACLE, smoothing=SMOOTHING, store=store)
    assert [guard.check(picture(200), "?").source for _ in range(2)] == ["computed", "hit"]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.parametrize("text", HALVES)
def test_such_an_answer_is_logged_with_its_certificate(engine: str, text: str, tmp_path: Path) -> None:
    with database(engine, tmp_path) as url, AuditLog(url) as log:
        policy = Policy(audit_required=True)
        guard = Guard(Speaker(text), ORACLE, smoothing=SMOOTHING, policy=policy, audit=log)
        decision = guard.check(picture(200), "?", client="a\ud800", session="\udc00", tags=["\ud800\ud800"])
        screened = guard.screen(decision, text)
        assert not screened.blocked
        (record,) = log.find(client="a\ud800")
        assert record.decision.certificate == decision.certificate


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("plain", "plain"),
        ("é 🍵", "é 🍵"),
        ("a\ud800b", "ab"),
        ("\ud800", ""),
        ("\udc00\ud800", ""),
        ("\ud83c\udf75", "🍵"),
        ("\ud83c\ud83c\udf75x", "🍵x"),
    ],
)
def test_what_an_answer_keeps(given: str, kept: str) -> None:
    assert Answer(given).text == kept
