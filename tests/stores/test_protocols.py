"""What a store may be is asked by protocol, so that a store of one's own may be all of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from guardrail import Certificate, Guard, InputImage, Reason, Smoothing
from guardrail.settings import Settings
from guardrail.stores import CertificateKey, CertificateStore, MemoryStore, RedisStore, Signer
from guardrail.stores.base import (
    Aliases,
    CountingStore,
    SharedBuckets,
    SharedLocks,
    SharedPoints,
    SharedStore,
    SignedStore,
    StoredPoint,
    StoreStats,
)
from guardrail.stores.langchain import LangChainStore
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

SMOOTHING = Smoothing(samples=20, key=b"the key of these tests")
WHITE = InputImage(np.full((4, 4, 3), 255, np.uint8))


class Pages:
    """Points in a list, as several guards of one process could share them."""

    def __init__(self) -> None:
        self.published: list[tuple[str, StoredPoint]] = []

    def publish(self, bucket: str, stored: StoredPoint) -> None:
        self.published.append((bucket, stored))

    def news(self, bucket: str) -> list[StoredPoint]:
        return [stored for name, stored in self.published if name == bucket]

    def levels(self, bucket: str, images: str) -> None:
        raise AssertionError(f"{bucket} {images}: the points of these tests hold their levels")


class Purse:
    """Buckets that never fill again."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()

    def take(self, name: str, draws: int, per_minute: int) -> bool:
        allowed = self.spent[name] + draws <= per_minute
        self.spent[name] += draws if allowed else 0
        return allowed


class OwnStore:
    """A store of one's own: certificates in a dictionary, counted, with points and buckets beside them."""

    def __init__(self) -> None:
        self.stats = StoreStats()
        self.kept: dict[CertificateKey, Certificate] = {}
        self.pages = Pages()
        self.purse = Purse()

    def get(self, key: CertificateKey) -> Certificate | None:
        found = self.kept.get(key)
        if found is None:
            self.stats.miss()
        return found

    def put(self, key: CertificateKey, certificate: Certificate) -> None:
        self.kept[key] = certificate

    def points(self) -> SharedPoints:
        return self.pages

    def buckets(self) -> SharedBuckets:
        return self.purse

    def ping(self) -> None:
        """It is always there."""

    def close(self) -> None:
        """There is nothing to give back."""


@pytest.mark.parametrize(
    ("store", "kinds"),
    [
        (MemoryStore(), {Aliases, CountingStore}),
        (RedisStore("redis://127.0.0.1:1"), {Aliases, CountingStore, SignedStore, SharedLocks, SharedStore}),
        (OwnStore(), {CountingStore, SharedStore}),
    ],
)
def test_a_store_is_what_it_offers(store: object, kinds: set[type]) -> None:
    assert isinstance(store, CertificateStore)
    asked = (Aliases, CountingStore, SignedStore, SharedLocks, SharedStore)
    assert {kind for kind in asked if isinstance(store, kind)} == kinds


def test_langchains_stores_sign_and_count() -> None:
    from langchain_core.stores import InMemoryByteStore

    store = LangChainStore(InMemoryByteStore(), signer=Signer("a secret of these tests"))
    assert isinstance(store, CertificateStore)
    assert isinstance(store, SignedStore)
    assert isinstance(store, CountingStore)
    assert not isinstance(store, SharedStore | SharedLocks | Aliases)


def test_near_hits_and_budgets_are_shared_where_the_store_offers_it() -> None:
    settings = Settings(near_refuse_within=0.25, draws_per_minute=20)
    store = OwnStore()

    def replica() -> Guard:
        near, budget = settings.make_near(store), settings.make_budget(store)
        return Guard(HalfSpaceVLM(24.0), ORACLE, smoothing=SMOOTHING, store=store, near=near, budget=budget)

    assert replica().check(WHITE, "?", client="mallory").source == "computed"
    assert len(store.pages.published) == 1
    assert store.purse.spent.total() > 0
    close = InputImage(np.full((4, 4, 3), 254, np.uint8))
    assert replica().check(close, "?", client="mallory").source == "near", "the other replica's point"
    far = InputImage(np.full((4, 4, 3), 150, np.uint8))
    assert replica().check(far, "?", client="mallory").reasons == (Reason.BUDGET_SPENT,), "by the other replica"
    assert replica().check(far, "?", client="alice").source == "computed"


def test_the_guard_counts_hits_for_it_alone_knows_that_they_are_hits() -> None:
    store = OwnStore()
    guard = Guard(HalfSpaceVLM(24.0), ORACLE, smoothing=SMOOTHING, store=store)
    assert guard.check(WHITE, "?").source == "computed"
    assert guard.check(WHITE, "?").source == "hit"
    assert guard.check(WHITE, "?").source == "hit"
    assert (store.stats.hits, store.stats.rejected.total()) == (2, 0)
    (key,) = store.kept
    other = InputImage(np.full((4, 4, 3), 200, np.uint8))
    guard.check(other, "?")
    misses = store.stats.misses
    store.kept[key] = store.kept[CertificateKey.of([other.sha256], key.context)]
    assert guard.check(WHITE, "?").source == "computed", "that certificate is another picture's"
    assert store.stats.hits == 2
    assert store.stats.rejected["another_request"] == store.stats.misses - misses > 0
