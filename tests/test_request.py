"""A request is made once: what takes time on its way through the guard is done once, whoever needs it."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from guardrail import Guard, InputImage, Prompt, SmoothedClassifier, Smoothing
from guardrail.errors import ImageError
from guardrail.images.once import once
from guardrail.near import NearHits
from guardrail.oracles import EquivalenceOracle
from guardrail.oracles.base import Oracle, RepresentativeOracle
from guardrail.request import CertificateKey, Request
from guardrail.stores import MemoryStore
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

SMOOTHING = Smoothing(samples=20, selection_samples=5, key=b"the key of these tests")


class Alike:
    """Answers are equivalent where they are equal."""

    name = "equal"

    def compare(self, pairs: Any, deadline: float | None = None) -> list[str]:
        return ["equivalent" if pair.answer == pair.representative else "different" for pair in pairs]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is done to pictures, counted: decoded, resized, and hashed where the noise is added."""
    done = Counter[str]()

    def count(name: str, what: str) -> None:
        real: Callable[..., Any] = getattr(__import__("guardrail.request", fromlist=[name]), name)

        def counting(*arguments: Any) -> Any:
            done[what] += 1
            return real(*arguments)

        monkeypatch.setattr(f"guardrail.request.{name}", counting)

    count("load_images", "decoded")
    count("resize", "resized")
    count("digest_of", "hashed")
    return done


def file(level: int) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(written, "PNG")
    return written.getvalue()


@pytest.mark.parametrize("near", [False, True], ids=["", "near hits"])
@pytest.mark.parametrize("selects", [False, True], ids=["", "selection"])
def test_a_computed_request_is_decoded_resized_and_hashed_once(work: Counter[str], near: bool, selects: bool) -> None:
    oracle: Oracle | RepresentativeOracle = EquivalenceOracle(Alike()) if selects else ORACLE
    hits = NearHits(0.25) if near else None
    with Guard(HalfSpaceVLM(96.0), oracle, smoothing=SMOOTHING, store=MemoryStore(), near=hits) as guard:
        decision = guard.check(file(250), "?")
    assert decision.source == "computed"
    assert decision.certificate is not None
    assert decision.certificate.selection_draws == (5 if selects else 0)
    assert work == {"decoded": 1, "resized": 1, "hashed": 1}


def test_a_near_hit_is_resized_once_and_a_hit_not_at_all(work: Counter[str]) -> None:
    with Guard(HalfSpaceVLM(96.0), ORACLE, smoothing=SMOOTHING, store=MemoryStore(), near=NearHits(0.25)) as guard:
        guard.check(file(250), "?")
        work.clear()
        assert guard.check(file(249), "?").source == "near"
        assert work == {"decoded": 1, "resized": 1}
        work.clear()
        assert guard.check(file(250), "?").source == "hit"
        assert not work


def test_a_picture_other_than_its_file_was_known_for_is_refused() -> None:
    classifier = SmoothedClassifier(HalfSpaceVLM(96.0), ORACLE, SMOOTHING)
    request = classifier.request(file(250), "?", hashes=("0" * 64,))
    assert request.key == CertificateKey("0" * 64, request.context)
    with pytest.raises(ImageError, match="another picture"):
        classifier.run(request)


def test_it_is_a_value_that_nobody_changes() -> None:
    request = SmoothedClassifier(HalfSpaceVLM(96.0), ORACLE, SMOOTHING).request(
        InputImage(np.zeros((8, 8, 3), np.uint8)), "?"
    )
    assert isinstance(request, Request)
    assert request.resized is request.resized
    with pytest.raises(AttributeError):
        request.prompt = Prompt(())  # type: ignore[misc]


def test_what_takes_time_holds_up_no_other_request() -> None:
    """One instance waits in its property until another's has been computed: with one lock for all it would for ever."""
    other_done = threading.Event()

    class Slow:
        def __init__(self, waits: bool) -> None:
            self.waits = waits

        @once
        def value(self) -> bool:
            if self.waits:
                return other_done.wait(5.0)
            other_done.set()
            return True

    with ThreadPoolExecutor(2) as pool:
        first, second = Slow(waits=True), Slow(waits=False)
        waiting = pool.submit(lambda: first.value)
        assert pool.submit(lambda: second.value).result(5.0)
        assert waiting.result(5.0)
