"""Stores keep certificates under their keys, for a time, and fail with one typed error."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import redis

from guardrail import Certificate, Guard, InputImage, SmoothedClassifier, Smoothing
from guardrail.errors import ConfigurationError, StoreError
from guardrail.stores import CertificateKey, CertificateStore, MemoryStore, RedisStore
from tests.stores.conftest import RedisServer
from tests.synthetic import ORACLE, HalfSpaceVLM

IMAGE = InputImage(np.full((4, 4, 3), 200, np.uint8))
KEY = CertificateKey("a" * 64, "b" * 64)


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return SmoothedClassifier(HalfSpaceVLM(0.0), ORACLE, Smoothing(samples=20)).certify(IMAGE, "?")


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[CertificateStore]:
    if request.param == "memory":
        made: CertificateStore = MemoryStore(ttl=0.2)
    else:
        made = RedisStore(request.getfixturevalue("redis_server").url, ttl=0.2)
    assert isinstance(made, CertificateStore)
    yield made
    made.close()


@pytest.fixture
def redis_store(redis_server: RedisServer) -> Iterator[RedisStore]:
    made = RedisStore(redis_server.url)
    yield made
    made.close()


def test_what_was_put_is_got_exactly(store: CertificateStore, certificate: Certificate) -> None:
    assert store.get(KEY) is None
    store.put(KEY, certificate)
    assert store.get(KEY) == certificate
    assert store.get(CertificateKey(KEY.images, "c" * 64)) is None
    assert store.get(CertificateKey("c" * 64, KEY.context)) is None


def test_certificates_expire(store: CertificateStore, certificate: Certificate) -> None:
    store.put(KEY, certificate)
    time.sleep(0.3)
    assert store.get(KEY) is None


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
        assert len(list(client.scan_iter(f"guardrail:v2:certificate:{'a' * 64}:*"))) == 3


def test_garbage_in_redis_is_a_miss(redis_server: RedisServer, redis_store: RedisStore) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        for garbage in (b"", b"{", b"\xff\xfe", b'{"verdict": "harmless"}', b"[]"):
            client.set(str(KEY), garbage)
            assert redis_store.get(KEY) is None


def test_two_guards_share_a_certificate_through_redis_and_an_outage_is_computed_through(
    redis_server: RedisServer,
) -> None:
    def replica() -> Guard:
        return Guard(HalfSpaceVLM(0.0), ORACLE, store=RedisStore(redis_server.url))

    with replica() as first, replica() as second:
        assert first.check(IMAGE, "?").source == "computed"
        assert second.check(IMAGE, "?").source == "hit"
        redis_server.stop()
        assert second.check(IMAGE, "?").source == "computed"
        redis_server.start()
        assert second.check(IMAGE, "?").source == "computed"
        assert second.check(IMAGE, "?").source == "hit"


def test_an_unreachable_redis_is_a_store_error_without_its_password() -> None:
    store = RedisStore("redis://:hunter2@127.0.0.1:1/0", timeout=0.1)
    for ask in (lambda: store.get(KEY), store.ping):
        with pytest.raises(StoreError) as caught:
            ask()
        assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(store)
    store.close()


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="redis://"):
        RedisStore("http://:hunter2@localhost")
    with pytest.raises(ConfigurationError, match="ttl"):
        MemoryStore(ttl=0)
    with pytest.raises(ConfigurationError, match="capacity"):
        MemoryStore(capacity=0)
