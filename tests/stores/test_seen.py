"""A file that was seen before is not decoded for a hit, and its alias cannot be used to pass for another picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
import redis
from PIL import Image

from guardrail import Guard, ImageLimits, InputImage, Reason, Smoothing
from guardrail.images.pictures import load_images
from guardrail.stores import MemoryStore, RedisStore, Signer
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

SIGNER = Signer("a secret of these tests")


def png(level: int, size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def guarded(store: MemoryStore | RedisStore, **options: object) -> Guard:
    smoothing = Smoothing(samples=20, key=b"the key of these tests")
    return Guard(HalfSpaceVLM(96.0), ORACLE, smoothing=smoothing, store=store, **options)  # type: ignore[arg-type]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many files each call has decoded."""
    calls: list[int] = []

    def counting(sources: object, limits: ImageLimits) -> tuple[InputImage, ...]:
        pictures = load_images(sources, limits)  # type: ignore[arg-type]
        calls.append(len(pictures))
        return pictures

    monkeypatch.setattr("guardrail.request.load_images", counting)
    return calls


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_a_hit_by_the_same_bytes_decodes_nothing(kind: str, decoded: list[int], request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("shared_redis").url if kind == "redis" else ""
    with guarded(RedisStore(url, signer=SIGNER) if url else MemoryStore()) as guard:
        first, again = guard.check(png(250), "?"), guard.check(bytearray(png(250)), "?")
        assert (first.source, again.source) == ("computed", "hit")
        assert first.certificate == again.certificate
        assert decoded == [1]
        assert guard.check(png(250), "!").source == "computed"
        assert decoded == [1, 1], "once for the draws of another prompt"
        assert guard.check([png(250), png(250)], "?").source == "computed"
        assert guard.check([png(250), png(250)], "?").source == "hit"
        assert decoded == [1, 1, 2]
        assert guard.check([png(250), InputImage.load(png(250))], "?").source == "hit", "what is no file is read"
        assert decoded == [1, 1, 2, 2]


def test_stricter_limits_know_no_file_of_looser_ones(decoded: list[int]) -> None:
    store = MemoryStore()
    assert not guarded(store).check(png(250, 20), "?").blocked
    strict = guarded(store, limits=ImageLimits(max_pixels=100))
    assert strict.check(png(250, 20), "?").reasons == (Reason.IMAGE_TOO_LARGE,)


def test_a_forged_or_replayed_alias_is_none(shared_redis: RedisServer) -> None:
    with guarded(RedisStore(shared_redis.url, signer=SIGNER)) as guard:
        assert not guard.check(png(250), "?").blocked
        assert guard.check(png(5), "?").blocked
        with redis.Redis.from_url(shared_redis.url) as client:
            one, other = client.scan_iter("guardrail:v1:file:*")
            first, second = client.get(one), client.get(other)
            client.set(one, second or b"")
            client.set(other, first or b"")
        assert not guard.check(png(250), "?").blocked
        assert guard.check(png(5), "?").blocked
        assert isinstance(guard.store, RedisStore)
        assert guard.store.stats.rejected == {"signature": 2}


def test_a_store_whose_aliases_lie_makes_no_certificate_of_another_picture() -> None:
    class Lying(MemoryStore):
        def get_alias(self, file: str) -> str | None:
            return InputImage(np.full((8, 8, 3), 250, np.uint8)).sha256

    assert guarded(Lying()).check(png(5), "?").reasons == (Reason.UNREADABLE_IMAGE,)


def test_an_alias_of_another_picture_costs_one_request() -> None:
    store = MemoryStore()
    with guarded(store) as guard:
        guard.check(png(250), "?")
        (file,) = store._files
        store.put_alias(file, "0" * 64)
        assert guard.check(png(250), "!").reasons == (Reason.UNREADABLE_IMAGE,)
        assert not guard.check(png(250), "!").blocked


def test_memory_is_bounded() -> None:
    store = MemoryStore(capacity=5)
    for number in range(20):
        store.put_alias(str(number), "a" * 64)
    assert len(store._files) == 5
    assert store.get_alias("19") == "a" * 64
    assert store.get_alias("1") is None
