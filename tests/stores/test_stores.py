"""Stores keep certificates under their keys, for a time, and fail with one typed error."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import redis
from langchain_core.stores import InMemoryByteStore

from guardrail import Certificate, Guard, InputImage, SmoothedClassifier, Smoothing
from guardrail.certify.certificate import CERTIFICATE_VERSION
from guardrail.errors import ConfigurationError, StoreError
from guardrail.stores import CertificateKey, CertificateStore, MemoryStore, RedisStore, Signer
from guardrail.stores.langchain import LangChainStore
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

IMAGE = InputImage(np.full((4, 4, 3), 200, np.uint8))
KEY = CertificateKey("a" * 64, "b" * 64)
SIGNER = Signer("a secret of these tests")


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return SmoothedClassifier(HalfSpaceVLM(0.0), ORACLE, Smoothing(samples=20)).certify(IMAGE, "?")


@pytest.fixture(params=["memory", "redis", "langchain"])
def store(request: pytest.FixtureRequest) -> Iterator[MemoryStore | RedisStore | LangChainStore]:
    made: MemoryStore | RedisStore | LangChainStore
    match request.param:
        case "memory":
            made = MemoryStore(ttl=0.2)
        case "redis":
            made = RedisStore(request.getfixturevalue("redis_server").url, signer=SIGNER, ttl=0.2)
        case _:
            made = LangChainStore(InMemoryByteStore(), signer=SIGNER, ttl=0.2)
    assert isinstance(made, CertificateStore)
    yield made
    made.close()


@pytest.fixture
def redis_store(redis_server: RedisServer) -> Iterator[RedisStore]:
    made = RedisStore(redis_server.url, signer=SIGNER)
    yield made
    made.close()


def test_what_was_put_is_got_exactly(
    store: MemoryStore | RedisStore | LangChainStore, certificate: Certificate
) -> None:
    assert store.get(KEY) is None
    store.put(KEY, certificate)
    assert store.get(KEY) == certificate
    assert store.get(CertificateKey(KEY.images, "c" * 64)) is None
    assert store.get(CertificateKey("c" * 64, KEY.context)) is None
    assert (store.stats.misses, dict(store.stats.rejected)) == (3, {})


def test_certificates_expire(store: CertificateStore, certificate: Certificate) -> None:
    store.put(KEY, certificate)
    time.sleep(0.3)
    assert store.get(KEY) is None


def test_all_certificates_of_an_image_are_listed(
    store: MemoryStore | RedisStore | LangChainStore, certificate: Certificate
) -> None:
    for context in "xyz":
        store.put(CertificateKey("a" * 64, context * 64), certificate)
    store.put(CertificateKey("b" * 64, "x" * 64), certificate)
    assert store.of_images("a" * 64) == [certificate] * 3
    assert store.of_images("c" * 64) == []


def test_memory_is_bounded_and_forgets_the_least_used(certificate: Certificate) -> None:
    store = MemoryStore(capacity=2)
    first, second, third = (CertificateKey(letter * 64, "x" * 64) for letter in "abc")
    store.put(first, certificate)
    store.put(second, certificate)
    store.get(first)
    store.put(third, certificate)
    assert len(store) == 2
    assert store.get(second) is None
    assert store.get(first) == certificate


def test_all_certificates_of_an_image_stand_together_in_redis(
    redis_server: RedisServer, redis_store: RedisStore, certificate: Certificate
) -> None:
    for context in "xyz":
        redis_store.put(CertificateKey("a" * 64, context * 64), certificate)
    redis_store.put(CertificateKey("b" * 64, "x" * 64), certificate)
    with redis.Redis.from_url(redis_server.url) as client:
        names = list(client.scan_iter(f"guardrail:v{CERTIFICATE_VERSION}:certificate:{'a' * 64}:*"))
        assert len(names) == 3
        assert all(0 < client.pttl(name) <= 86_400_000 for name in names), "every name expires"
        assert all(client.strlen(name) < 1200 for name in names), "compact"


def test_what_does_not_verify_in_redis_is_a_counted_miss(
    redis_server: RedisServer, redis_store: RedisStore, certificate: Certificate
) -> None:
    other = CertificateKey(KEY.images, "c" * 64)
    redis_store.put(other, certificate)
    with redis.Redis.from_url(redis_server.url) as client:
        replayed = client.get(str(other))
        assert isinstance(replayed, bytes)
        poison = (b"", b"{", b"\xff\xfe", certificate.to_json().encode(), replayed, replayed[:-1], replayed + b"x")
        for entry in poison:
            client.set(str(KEY), entry)
            assert redis_store.get(KEY) is None
    assert redis_store.get(other) == certificate
    assert redis_store.stats.misses == len(poison)
    assert redis_store.stats.rejected.total() == len(poison)


def test_two_guards_share_a_certificate_through_redis_and_an_outage_is_computed_through(
    redis_server: RedisServer,
) -> None:
    def replica() -> Guard:
        return Guard(HalfSpaceVLM(0.0), ORACLE, store=RedisStore(redis_server.url, signer=SIGNER))

    with replica() as first, replica() as second:
        assert first.check(IMAGE, "?").source == "computed"
        assert second.check(IMAGE, "?").source == "hit"
        redis_server.stop()
        assert second.check(IMAGE, "?").source == "computed"
        redis_server.start()
        assert second.check(IMAGE, "?").source in {"computed", "hit"}, "at once, or when a probe has found it"
        deadline = time.monotonic() + 5.0
        while second.check(IMAGE, "?").source != "hit":
            assert time.monotonic() < deadline, "recovery is automatic"
            time.sleep(0.05)


def test_a_store_without_a_key_shares_nothing_and_says_so(
    redis_server: RedisServer, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = RedisStore(redis_server.url), RedisStore(redis_server.url)
    one.put(KEY, certificate)
    assert one.get(KEY) == certificate
    assert other.get(KEY) is None
    assert other.stats.rejected == {"signature": 1}
    assert "no signing key" in caplog.text
    one.close()
    other.close()


def test_a_store_without_a_key_takes_its_guards(redis_server: RedisServer) -> None:
    def replica(key: bytes) -> Guard:
        return Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=Smoothing(key=key), store=RedisStore(redis_server.url))

    with (
        replica(b"the key of replicas") as one,
        replica(b"the key of replicas") as two,
        replica(b"another key then") as odd,
    ):
        assert one.check(IMAGE, "?").source == "computed"
        assert two.check(IMAGE, "?").source == "hit"
        assert odd.check(IMAGE, "?").source == "computed"


def test_an_unreachable_redis_is_a_store_error_without_its_password() -> None:
    store = RedisStore("redis://:hunter2@127.0.0.1:1/0", signer=SIGNER, timeout=0.1)
    for ask in (lambda: store.get(KEY), store.ping):
        with pytest.raises(StoreError) as caught:
            ask()
        assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(store) + repr(store.connection)
    store.close()


def test_a_langchain_store_that_fails_or_lies_is_an_error_or_a_miss(certificate: Certificate) -> None:
    class Broken(InMemoryByteStore):
        def mget(self, keys: object) -> list[bytes | None]:
            raise OSError("disk")

    with pytest.raises(StoreError, match="Broken"):
        LangChainStore(Broken(), signer=SIGNER).get(KEY)

    class Texts(InMemoryByteStore):
        def mget(self, keys: object) -> list[bytes | None]:
            return ["text"]  # type: ignore[list-item]

    store = LangChainStore(Texts(), signer=SIGNER)
    assert store.get(KEY) is None
    assert store.stats.rejected == {"malformed": 1}
    with pytest.raises(ConfigurationError, match="BaseStore"):
        LangChainStore({})  # type: ignore[arg-type]


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="redis://"):
        RedisStore("http://:hunter2@localhost")
    with pytest.raises(ConfigurationError, match="redis\\+sentinel"):
        RedisStore("redis+sentinel://:hunter2@localhost")
    with pytest.raises(ConfigurationError, match="ttl"):
        MemoryStore(ttl=0)
    with pytest.raises(ConfigurationError, match="ttl"):
        RedisStore("redis://localhost", ttl=0)
    with pytest.raises(ConfigurationError, match="capacity"):
        MemoryStore(capacity=0)
