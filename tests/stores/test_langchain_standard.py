"""Redis as a LangChain byte store passes LangChain's own standard tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis
from langchain_tests.integration_tests import BaseStoreAsyncTests, BaseStoreSyncTests

from guardrail.stores import Signer
from guardrail.stores.langchain import RedisByteStore
from guardrail.stores.signing import RejectedEntryError
from tests.kit.redis_server import RedisServer

SIGNER = Signer("a secret of these tests")


class TestStandardSync(BaseStoreSyncTests[bytes]):
    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"\x00\xff", b""

    @pytest.fixture
    def kv_store(self, shared_redis: RedisServer) -> Iterator[RedisByteStore]:
        store = RedisByteStore(shared_redis.url, signer=SIGNER)
        yield store
        store.close()


class TestStandardAsync(BaseStoreAsyncTests[bytes]):
    @pytest.fixture
    def three_values(self) -> tuple[bytes, bytes, bytes]:
        return b"foo", b"\x00\xff", b""

    @pytest.fixture
    async def kv_store(self, shared_redis: RedisServer) -> AsyncIterator[RedisByteStore]:
        store = RedisByteStore(shared_redis.url, signer=SIGNER)
        yield store
        store.close()


def test_a_forged_value_is_missing_and_a_large_one_is_refused(shared_redis: RedisServer) -> None:
    store = RedisByteStore(shared_redis.url, signer=SIGNER, limit=1000)
    store.mset([("one", b"1"), ("two", b"2")])
    with redis.Redis.from_url(shared_redis.url) as client:
        client.set("guardrail:v1:bytes:one", client.get("guardrail:v1:bytes:two") or b"")
        client.set("guardrail:v1:bytes:three", b"forged")
        assert client.pttl("guardrail:v1:bytes:two") > 0
    assert store.mget(["one", "two", "three"]) == [None, b"2", None]
    assert store.stats.rejected == {"signature": 1, "malformed": 1}
    with pytest.raises(RejectedEntryError, match="too_large"):
        store.mset([("large", b"x" * 1001)])
    store.close()


def test_prefixes_are_no_patterns(shared_redis: RedisServer) -> None:
    store = RedisByteStore(shared_redis.url, signer=SIGNER)
    store.mset([("a*b", b"1"), ("axb", b"2"), ("[a]", b"3")])
    assert list(store.yield_keys(prefix="a*")) == ["a*b"]
    assert list(store.yield_keys(prefix="[a]")) == ["[a]"]
    store.close()
