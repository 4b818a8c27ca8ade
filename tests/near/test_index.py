"""The contraction never rules out what is near, and what is called near is."""

from __future__ import annotations

import numpy as np
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from guardrail.errors import ConfigurationError
from guardrail.near import NearIndex, Point
from guardrail.near.index import bucket_of, contract, rounded
from guardrail.stores import CertificateKey, Signer
from guardrail.stores.redis.connection import RedisConnection
from guardrail.stores.redis.points import RedisPoints
from tests.kit.redis_server import RedisServer
from tests.kit.simulations import simulations

SIGNER = Signer("a secret of these tests")


def name(number: int) -> CertificateKey:
    return CertificateKey(f"{number:064x}", "c" * 64)


def picture(rng: np.random.Generator, size: tuple[int, int] = (24, 20)) -> np.ndarray:
    """Smooth or rough, bright or dark: one image in certification space."""
    low, high = np.sort(rng.uniform(0.0, 1.0, 2))
    return np.asarray(rng.uniform(low, high, (*size, 3)))


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    pair=arrays.array_shapes(min_dims=2, max_dims=2, max_side=13).flatmap(
        lambda shape: st.tuples(*[arrays.arrays(np.float64, (*shape, 3), elements=st.floats(0.0, 1.0, width=16))] * 2)
    )
)
def test_the_contraction_contracts(pair: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = pair
    assert np.linalg.norm(contract(one) - contract(other)) <= np.linalg.norm(one - other) + 1e-9


def test_the_contraction_tells_apart_what_differs_in_mean_or_in_texture() -> None:
    flat, brighter = np.full((8, 8, 3), 0.4), np.full((8, 8, 3), 0.5)
    assert np.linalg.norm(contract(flat) - contract(brighter)) == pytest.approx(np.linalg.norm(flat - brighter))
    textured = flat + np.where(np.indices((8, 8)).sum(0) % 2, 0.1, -0.1)[..., None]
    assert np.linalg.norm(contract(flat) - contract(textured)) == pytest.approx(np.linalg.norm(flat - textured))


@pytest.mark.simulation
def test_near_is_exactly_what_the_distance_says() -> None:
    """Random pairs on both sides of the radius: found when d is below it by more than the storage error."""
    rng, missed, trials = np.random.default_rng(0), 0, simulations(400)
    for trial in range(trials):
        index, x = NearIndex(), picture(rng)
        radius = rng.uniform(0.05, 0.75)
        index.add("c", name(trial), Point.of([x]), radius)
        direction = rng.standard_normal(x.shape) * (rng.random(x.shape) < rng.choice([1.0, 0.01]))
        direction = direction if direction.any() else np.ones(x.shape)
        distance = radius * rng.choice([0.5, 0.99, 0.999, 1.0, 1.001, 1.5])
        y = x + direction * (distance / np.linalg.norm(direction))
        true = float(np.linalg.norm(x - y))
        residual = rounded(name(0), Point.of([x]), 0.0).residual
        found = index.neighbours("c", Point.of([y]), 0.0)
        assert len(found) <= 1
        if found:
            assert true <= found[0].distance < radius
            assert found[0].distance <= true + 2 * residual + 1e-6
        else:
            missed += true < radius
            assert true + 2 * residual >= radius - 1e-6
    assert missed < trials / 4, "residuals are small"


def test_the_distance_is_joint_over_images_and_rounded_up_by_the_storage_error() -> None:
    rng = np.random.default_rng(1)
    one, two = picture(rng), picture(rng, (5, 7))
    index = NearIndex()
    index.add("c", name(1), Point.of([one, two]), 1.0)
    (found,) = index.neighbours("c", Point.of([one + 0.004, two + 0.03]), 0.0)
    true = np.sqrt(one.size * 0.004**2 + two.size * 0.03**2)
    assert true < found.distance < true + 1e-3
    (same,) = index.neighbours("c", Point.of([one, two]), 0.0)
    assert 0.0 < same.distance < 1e-3, "never nothing: 16 bits are not the pixels"


def test_the_storage_error_is_counted_whatever_the_pixels() -> None:
    for x in (np.full((4, 4, 3), 0.5 / 65_535), np.full((4, 4, 3), 1.0 + 1e-3), np.full((4, 4, 3), -0.25)):
        stored = rounded(name(0), Point.of([x]), 0.0)
        assert stored.levels is not None
        assert stored.residual >= np.linalg.norm(x.reshape(-1) - stored.levels / 65_535)


def test_nothing_is_near_in_another_context_size_or_order() -> None:
    rng = np.random.default_rng(2)
    tall, wide = picture(rng, (8, 4)), picture(rng, (4, 8))
    index = NearIndex()
    index.add("c", name(1), Point.of([tall, wide]), 1.0)
    assert index.neighbours("c", Point.of([tall, wide]), 0.0)
    assert not index.neighbours("d", Point.of([tall, wide]), 9.0)
    assert not index.neighbours("c", Point.of([wide, tall]), 9.0)
    assert not index.neighbours("c", Point.of([tall]), 9.0)
    assert not index.neighbours("c", Point.of([tall.reshape(4, 8, 3), wide]), 9.0)


def test_many_points_are_searched_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    index, points = NearIndex(), [picture(rng, (6, 6)) * 0.2 for _ in range(300)]
    for number, x in enumerate(points):
        index.add("c", name(number), Point.of([x]), rng.uniform(0.0, 0.6))
    for number in range(0, 300, 7):
        index._drop(bucket_of("c", Point.of([points[number]])), name(number))
    for x in points[::11]:
        y = x + rng.normal(0.0, 0.02, x.shape)
        found = {n.key: n.distance for n in index.neighbours("c", Point.of([y]), 0.4)}
        for number, other in enumerate(points):
            true = float(np.linalg.norm(other - y))
            if number % 7 and true < 0.399:
                assert found[name(number)] == pytest.approx(true, abs=1e-3)
            if number % 7 == 0 or true > 0.6:
                assert name(number) not in found


def test_number_and_memory_are_bounded_and_the_least_used_leaves() -> None:
    rng = np.random.default_rng(4)
    x = [picture(rng, (8, 8)) for _ in range(5)]
    index = NearIndex(capacity=3)
    for number in range(3):
        index.add("c", name(number), Point.of([x[number]]), 0.1)
    assert index.neighbours("c", Point.of([x[0]]), 0.0)
    index.add("c", name(3), Point.of([x[3]]), 0.1)
    assert len(index) == 3
    assert not index.neighbours("c", Point.of([x[1]]), 0.0)
    assert index.neighbours("c", Point.of([x[0]]), 0.0)
    small = NearIndex(max_bytes=4000)
    for number in range(50):
        small.add(f"context {number % 3}", name(number), Point.of([x[number % 5]]), 0.1)
    assert small._bytes <= 4000
    assert 1 <= len(small) < 5
    small.add("c", name(99), Point.of([picture(rng, (60, 60))]), 0.1)
    assert len(small) >= 1, "what can never fit drives nobody out"
    with pytest.raises(ConfigurationError, match="capacity"):
        NearIndex(capacity=0)


class TestShared:
    def replica(self, server: RedisServer, signer: Signer = SIGNER, capacity: int = 100) -> NearIndex:
        return NearIndex(shared=RedisPoints(RedisConnection(server.url, timeout=0.3), signer, capacity=capacity))

    def test_replicas_see_each_others_points(self, shared_redis: RedisServer) -> None:
        rng = np.random.default_rng(5)
        one, other = self.replica(shared_redis), self.replica(shared_redis)
        x = [picture(rng) for _ in range(4)]
        for number in range(3):
            one.add("c", name(number), Point.of([x[number]]), 0.5)
        for number in range(3):
            (found,) = other.neighbours("c", Point.of([x[number] + 0.001]), 0.0)
            assert found.key == name(number)
            assert found.distance == pytest.approx(0.001 * x[number].size ** 0.5, abs=1e-3)
        other.add("c", name(3), Point.of([x[3]]), 0.5)
        assert one.neighbours("c", Point.of([x[3]]), 0.0)
        assert one.neighbours("c", Point.of([x[0]]), 0.0)
        with redis.Redis.from_url(shared_redis.url) as client:
            names = [n for n in client.scan_iter("guardrail:v2:near:*") if n != b"guardrail:v2:near:next"]
            assert len(names) == 5
            assert all(client.pttl(n) > 0 for n in names)

    def test_forged_and_replayed_points_are_not_there(self, shared_redis: RedisServer) -> None:
        rng = np.random.default_rng(6)
        x, y = picture(rng), picture(rng)
        self.replica(shared_redis, Signer("somebody else's secret")).add("c", name(1), Point.of([x]), 0.5)
        mine = self.replica(shared_redis)
        assert mine.neighbours("c", Point.of([x]), 0.0) == []
        mine.add("c", name(2), Point.of([x]), 0.5)
        mine.add("c", name(3), Point.of([y]), 0.5)
        with redis.Redis.from_url(shared_redis.url) as client:
            slots = sorted(client.scan_iter("guardrail:v2:near:pixels:*"))[-2:]
            first, second = client.get(slots[0]), client.get(slots[1])
            client.set(slots[0], second or b"")
            client.set(slots[1], first or b"")
            for stream in client.scan_iter("guardrail:v2:near:*", _type="stream"):
                client.xadd(stream, {"e": b"garbage"})
                client.xadd(stream, {"other": b"garbage"})
        fresh = self.replica(shared_redis)
        assert fresh.neighbours("c", Point.of([x]), 0.0) == []
        assert fresh.neighbours("c", Point.of([y]), 0.0) == []

    def test_memory_in_redis_is_bounded_and_overwritten_pixels_are_gone(self, shared_redis: RedisServer) -> None:
        rng = np.random.default_rng(7)
        one, x = self.replica(shared_redis, capacity=3), [picture(rng) for _ in range(9)]
        for number in range(9):
            one.add(f"context {number % 2}", name(number), Point.of([x[number]]), 0.5)
        with redis.Redis.from_url(shared_redis.url) as client:
            assert len(list(client.scan_iter("guardrail:v2:near:pixels:*"))) == 3
        other = self.replica(shared_redis, capacity=3)
        seen = [bool(other.neighbours(f"context {i % 2}", Point.of([x[i]]), 0.0)) for i in range(9)]
        assert seen == [False] * 6 + [True] * 3

    def test_in_an_outage_each_process_has_its_own(self, redis_server: RedisServer) -> None:
        index, x = self.replica(redis_server), picture(np.random.default_rng(8))
        redis_server.stop()
        index.add("c", name(1), Point.of([x]), 0.5)
        assert index.neighbours("c", Point.of([x]), 0.0)
