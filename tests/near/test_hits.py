"""Near hits say what theory says, and no more; each rule is broken on purpose once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from guardrail import (
    Action,
    Certificate,
    Guard,
    InputImage,
    Policy,
    Prompt,
    Reason,
    SmoothedClassifier,
    Smoothing,
    Verdict,
)
from guardrail.certify.resize import resize_norm
from guardrail.errors import ConfigurationError, StoreError
from guardrail.images import ImageLimits
from guardrail.near import NearHits, NearIndex, Point
from guardrail.near.hits import Vicinity
from guardrail.request import Request
from guardrail.statistics import WorstCaseError
from guardrail.stores import CertificateKey, MemoryStore, RedisStore, Signer
from guardrail.stores.redis.points import RedisPoints
from tests.kit.redis_server import RedisServer
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

SIDE = 8
MIDDLE = 0.5 * 3 * SIDE**2
KEY = b"the key of these tests"
SMOOTHING = Smoothing(key=KEY, samples=40, target_radius=0.4)


def flat(level: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), level, np.uint8)


def changed(pixels: np.ndarray, values: int, by: int = 1) -> InputImage:
    """The picture with its first `values` numbers changed by so many levels."""
    other = pixels.copy().reshape(-1)
    other[:values] = (other[:values].astype(int) + by).astype(np.uint8)
    return InputImage(other.reshape(pixels.shape))


def distance(one: InputImage, other: InputImage) -> float:
    return float(np.linalg.norm((one.pixels.astype(float) - other.pixels) / 255.0))


def guarded(near: NearHits | None = None, **options: object) -> tuple[Guard, HalfSpaceVLM]:
    model = HalfSpaceVLM(MIDDLE)
    options = {"smoothing": SMOOTHING, "store": MemoryStore(), "near": near or NearHits(), **options}
    return Guard(model, ORACLE, **options), model  # type: ignore[arg-type]


WHITE, BLACK, GREY = flat(250), flat(5), flat(128)


class TestCoverage:
    def test_a_change_below_the_radius_costs_no_draws_and_says_from_where(self) -> None:
        guard, model = guarded()
        first = guard.check(InputImage(WHITE), "?").certificate
        assert first is not None
        drawn = sum(model.batches)
        variant = changed(WHITE, 40)
        d = distance(InputImage(WHITE), variant)
        decision = guard.check(variant, "?")
        near = decision.certificate
        assert (decision.source, decision.action) == ("near", Action.ALLOW)
        assert sum(model.batches) == drawn
        assert near is not None
        assert near.derived_from == InputImage(WHITE).sha256
        assert near.image_sha256 == (variant.sha256,)
        assert d <= near.distance < d + 1e-3
        assert near.radius == first.radius - near.distance
        assert near.radius_oracle == near.radius
        assert near.radius_true is None
        assert near.q_lower == pytest.approx(ndtr(ndtri(first.q_lower) - near.distance / 0.5), abs=1e-9)
        assert near.q_lower <= ndtr(ndtri(first.q_lower) - d / 0.5)
        assert any("near hit" in warning for warning in near.warnings)

    def test_never_at_or_beyond_the_radius(self) -> None:
        """Variants on both sides of R: near exactly when the true distance permits, up to the 16 bits."""
        guard, _ = guarded()
        first = guard.check(InputImage(WHITE), "?").certificate
        assert first is not None
        assert guard.near is not None
        served: dict[float, Certificate | None] = {}
        for levels in range(1, 60):
            variant = InputImage(flat(250 - levels))
            request = guard.classifier.request(variant, "?", guard.target_radius)
            store = guard.store
            assert store is not None
            d = distance(InputImage(WHITE), variant)
            served[d] = guard.near.around(request, store.get, store.put, guard.policy.refuses).covers()
        assert all((near is not None) == (d < first.radius) for d, near in served.items())
        assert len({near is None for near in served.values()}) == 2

    def test_a_long_reach_of_refusals_does_not_stretch_what_is_harmless(self) -> None:
        guard, _ = guarded(NearHits(refuse_within=5.0))
        first = guard.check(InputImage(WHITE), "?").certificate
        assert first is not None
        beyond = _first_beyond(WHITE, -1, first.radius)
        assert distance(InputImage(WHITE), beyond) < first.radius + 0.06
        assert guard.check(beyond, "?").source == "computed"

    def test_what_a_near_hit_serves_is_true(self) -> None:
        """The model's boundary is known: the ball of the derived radius does not reach it."""
        guard, model = guarded()
        guard.check(InputImage(WHITE), "?")
        for values in range(5, 190, 5):
            variant = changed(WHITE, values, -2)
            certificate = guard.check(variant, "?").certificate
            assert certificate is not None
            assert certificate.radius < model.distance(variant.pixels / 255.0)

    @pytest.mark.slow
    def test_no_walk_through_near_hits_finds_a_false_certificate(self) -> None:
        """An attacker walks at random, from wherever it was allowed last, toward the boundary that it knows."""
        rng = np.random.default_rng(5)
        guard, model = guarded(NearHits(refuse_within=0.1))
        sources = []
        for _ in range(6):
            here = rng.integers(150, 256, (SIDE, SIDE, 3))
            for _ in range(60):
                step = rng.integers(-6, 4, here.shape) * (rng.random(here.shape) < 0.5)
                there = np.clip(here + step, 0, 255)
                decision = guard.check(InputImage(there.astype(np.uint8)), "?")
                certificate = decision.certificate
                assert certificate is not None
                sources.append(decision.source)
                if certificate.certified_class == "harmless":
                    assert certificate.radius < model.distance(there / 255.0)
                    here = there
                elif certificate.certified_class == "harmful":
                    assert certificate.radius < -model.distance(there / 255.0)
        assert min(sources.count("near"), sources.count("computed")) > 20

    def test_p_is_shifted_and_the_shifted_q_is_not_corrected(self) -> None:
        error = WorstCaseError(rate_upper=0.05)
        guard, _ = guarded(smoothing=SMOOTHING.model_copy(update={"oracle_error": error}))
        first = guard.check(InputImage(WHITE), "?").certificate
        near = guard.check(changed(WHITE, 40), "?").certificate
        assert first is not None
        assert near is not None
        assert first.p_lower is not None
        assert near.p_lower is not None
        assert near.p_lower == pytest.approx(ndtr(ndtri(first.p_lower) - near.distance / 0.5), abs=1e-9)
        assert abs(near.p_lower - error.correct(near.q_lower)) > 1e-4, "that would be another, wrong number"
        assert near.radius_true == (first.radius_true or 0.0) - near.distance
        assert near.radius == min(near.radius_oracle, near.radius_true or 0.0)

    def test_original_pixels_are_divided_by_the_norm_of_the_new_resize(self) -> None:
        model = HalfSpaceVLM(MIDDLE, resolution=(SIDE, SIDE))
        guard = Guard(model, ORACLE, smoothing=SMOOTHING, store=MemoryStore(), near=NearHits())
        guard.check(InputImage(WHITE), "?")
        large = InputImage(np.full((64, 64, 3), 250, np.uint8))
        decision = guard.check(large, "?")
        assert decision.source == "near"
        assert decision.certificate is not None
        norm = resize_norm((64, 64), (SIDE, SIDE))
        assert norm < 0.5
        assert decision.certificate.radius_original_pixels == pytest.approx(decision.certificate.radius / norm)

    def test_it_is_never_stored_as_fresh(self) -> None:
        """Else a chain of near hits would walk out of the radius."""
        guard, _ = guarded()
        guard.check(InputImage(WHITE), "?")
        assert isinstance(guard.store, MemoryStore)
        for step in range(1, 8):
            decision = guard.check(InputImage(flat(250 - step)), "?")
            if decision.source == "near":
                assert decision.certificate is not None
                assert decision.certificate.derived_from == InputImage(WHITE).sha256
        assert len(guard.store) == 1
        assert len(guard.near.index) == 1 if guard.near else False
        assert guard.check(InputImage(flat(249)), "?").source == "near", "asked again, it is near again"

    def test_and_if_it_were_it_would_be_a_miss(self) -> None:
        guard, _ = guarded()
        guard.check(InputImage(WHITE), "?")
        variant = changed(WHITE, 3)
        near = guard.check(variant, "?").certificate
        assert near is not None
        assert isinstance(guard.store, MemoryStore)
        context = guard.classifier.context(Prompt.of("?", 1), guard.target_radius)
        guard.store.put(CertificateKey(variant.sha256, context), near)
        assert guard.check(variant, "?").source == "near"
        assert guard.store.stats.rejected["another_request"] > 0

    def test_not_for_another_prompt_order_or_size(self) -> None:
        guard, _ = guarded()
        pair = [InputImage(WHITE), InputImage(np.full((4, 6, 3), 250, np.uint8))]
        guard.check(pair, "?")
        close = [changed(WHITE, 3), pair[1]]
        assert guard.check(close, "?").source == "near"
        assert guard.check(close, "!").source == "computed"
        assert guard.check(close[::-1], "?").source == "computed"
        assert guard.check(close[0], "?").source == "computed"

    def test_a_certificate_that_the_store_has_lost_covers_nothing(self) -> None:
        guard, _ = guarded()
        guard.check(InputImage(WHITE), "?")
        assert isinstance(guard.store, MemoryStore)
        guard.store.close()
        assert guard.check(changed(WHITE, 3), "?").source == "computed"

    @pytest.mark.parametrize("odd", [{"rigorous": False}, {"derived_from": "a" * 64}])
    def test_an_estimate_and_what_was_itself_derived_cover_nothing(self, odd: dict[str, object]) -> None:
        near, store = NearHits(), MemoryStore()
        first, second = _request(WHITE), _request(flat(249))
        near.index.add(first.near_context, first.key, Point.of(first.resized), 0.5)
        store.put(first.key, _certificate(0.5).model_copy(update=odd))
        assert _around(near, second, store).covers() is None
        store.put(first.key, _certificate(0.5))
        assert _around(near, second, store).covers() is not None

    def test_a_store_that_gives_another_requests_certificate_covers_nothing(self) -> None:
        class Confused(MemoryStore):
            def get(self, key: CertificateKey) -> Certificate | None:
                return other if super().get(key) else None

        other = Guard(HalfSpaceVLM(MIDDLE), ORACLE, smoothing=SMOOTHING).check(InputImage(WHITE), "!").certificate
        guard, _ = guarded(store=Confused())
        guard.check(InputImage(WHITE), "?")
        assert guard.check(changed(WHITE, 3), "?").source == "computed"


class TestRefusals:
    def test_an_abstention_answers_what_is_near_it(self) -> None:
        guard, model = guarded(NearHits(refuse_within=0.1))
        assert guard.check(InputImage(GREY), "?").reasons == (Reason.ABSTAINED,)
        drawn = sum(model.batches)
        close, far = changed(GREY, 1, 24), changed(GREY, 1, 27)  # 0.094 and 0.106
        decision = guard.check(close, "?")
        assert (decision.source, decision.reasons) == ("near", (Reason.ABSTAINED,))
        assert decision.blocked
        assert sum(model.batches) == drawn, "a pixel changed buys no other draws"
        assert guard.check(far, "?").source == "computed"

    def test_a_harmful_verdict_reaches_as_far_and_certifies_only_within_its_radius(self) -> None:
        guard, _ = guarded(NearHits(refuse_within=2.0))
        first = guard.check(InputImage(BLACK), "?").certificate
        assert first is not None
        inside, outside = guard.check(changed(BLACK, 20), "?"), guard.check(InputImage(flat(25)), "?")
        assert first.radius < distance(InputImage(BLACK), InputImage(flat(25))) < 2.0
        barely = _first_beyond(BLACK, 1, first.radius)
        repeated = guard.check(barely, "?").certificate
        assert repeated is not None
        assert (repeated.verdict, repeated.radius, repeated.radius_original_pixels) == (Verdict.HARMFUL, 0.0, 0.0)
        for decision in (inside, outside):
            assert (decision.source, decision.reasons) == ("near", (Reason.CERTIFIED_HARMFUL,))
        assert inside.certificate is not None
        assert outside.certificate is not None
        assert inside.certificate.radius > 0.0
        assert (outside.certificate.radius, outside.certificate.q_lower) == (0.0, 0.0)
        assert outside.certificate.verdict is Verdict.HARMFUL

    def test_the_policys_own_harmful_classes_count(self) -> None:
        guard, _ = guarded(NearHits(refuse_within=2.0), policy=Policy(classes={"harmless": "block"}))
        guard.check(InputImage(WHITE), "?")
        assert guard.check(InputImage(flat(230)), "?").reasons == (Reason.CERTIFIED_HARMFUL,)

    def test_a_refusal_near_by_wins_over_a_certificate_that_covers(self) -> None:
        near, store = NearHits(refuse_within=0.3), MemoryStore()
        certificate, asked = _certificate(0.9), _request(WHITE)
        abstention = certificate.model_copy(
            update={"certified_class": None, "verdict": Verdict.ABSTAIN, "radius": 0.0, "radius_oracle": 0.0}
        )
        for pixels, stored in ((WHITE, certificate), (changed(WHITE, 3, -20).pixels, abstention)):
            here = _request(pixels)
            store.put(here.key, stored)
            near.index.add(here.near_context, here.key, Point.of(here.resized), stored.radius)
        middle = _request(changed(WHITE, 3, -10).pixels)
        found = _around(near, middle, store).covers()
        assert found is not None
        assert found.certified_class is None
        assert asked.key.images != found.derived_from


class TestContradictions:
    def test_two_verdicts_too_close_prove_one_false_both_go_and_the_request_is_refused(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        near, store = NearHits(), MemoryStore()
        harmless, harmful = _certificate(0.3), _certificate(0.3, harmful=True)
        first, second = _request(WHITE), _request(flat(242))  # 0.43 apart, less than 0.3 + 0.3
        store.put(first.key, _around(near, first, store).admit(harmless))
        assert store.get(first.key) == harmless
        admitted = _around(near, second, store).admit(harmful)
        store.put(second.key, admitted)
        for certificate in (admitted, store.get(first.key)):
            assert certificate is not None
            assert (certificate.verdict, certificate.certified_class) == (Verdict.ABSTAIN, None)
            assert (certificate.radius, certificate.q_lower, certificate.answer) == (0.0, 0.0, None)
            assert certificate.stop_reason == "contradicted"
            assert Policy().decide(certificate) == {Reason.ABSTAINED: Action.BLOCK}
        assert "contradicting certificates" in caplog.text

    def test_not_where_both_can_be_true(self) -> None:
        near, store = NearHits(), MemoryStore()
        first, second = _request(WHITE), _request(flat(242))
        store.put(first.key, _around(near, first, store).admit(_certificate(0.2)))
        harmful = _certificate(0.2, harmful=True)  # 0.43 apart, more than 0.2 + 0.2
        assert _around(near, second, store).admit(harmful) == harmful
        same = _certificate(0.9)
        assert _around(near, second, store).admit(same) == same, "equal verdicts never contradict"

    def test_between_two_that_are_stored_nothing_is_served(self) -> None:
        """Replicas that did not see each other's certificates in time have stored both."""
        near, store = NearHits(refuse_within=0.0), MemoryStore()
        first, second, between = _request(WHITE), _request(flat(242)), _request(flat(246))
        for asked, certificate in ((first, _certificate(0.3)), (second, _certificate(0.3, harmful=True))):
            store.put(asked.key, certificate)
            near.index.add(asked.near_context, asked.key, Point.of(asked.resized), 0.3)
        found = _around(near, between, store).covers()
        assert found is not None
        assert found.certified_class is None
        assert found.stop_reason == "contradicted"
        for asked in (first, second):
            withdrawn = store.get(asked.key)
            assert withdrawn is not None
            assert withdrawn.stop_reason == "contradicted"


def test_replicas_share_near_hits_through_redis(shared_redis: RedisServer) -> None:
    signer = Signer(KEY)

    def replica() -> Guard:
        store = RedisStore(shared_redis.url, signer=signer)
        near = NearHits(index=NearIndex(shared=RedisPoints(store.connection, signer)))
        return guarded(near, store=store)[0]

    with replica() as one, replica() as other:
        assert one.check(InputImage(WHITE), "?").source == "computed"
        assert other.check(changed(WHITE, 40), "?").source == "near"


def test_impossible_set_ups_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="refuse_within"):
        NearHits(refuse_within=-0.1)
    with pytest.raises(ConfigurationError, match="store"):
        Guard(HalfSpaceVLM(MIDDLE), ORACLE, near=NearHits())


def _first_beyond(pixels: np.ndarray, step: int, radius: float) -> InputImage:
    """The nearest evenly brighter or darker picture that lies at `radius` or beyond."""
    variants = (InputImage((pixels.astype(int) + step * n).astype(np.uint8)) for n in range(100))
    return next(variant for variant in variants if distance(InputImage(pixels), variant) >= radius)


def _request(pixels: np.ndarray) -> Request:
    return Request(
        [InputImage(pixels)], ImageLimits(), Prompt.of("?", 1), "c" * 64, "d" * 64, None, pixels.shape[:2], 1024
    )


def _around(near: NearHits, request: Request, store: MemoryStore) -> Vicinity:
    return near.around(request, store.get, store.put, Policy().refuses)


def _certificate(radius: float, *, harmful: bool = False) -> Certificate:
    """A certificate of this radius, true or not."""
    made = SmoothedClassifier(HalfSpaceVLM(MIDDLE), ORACLE, SMOOTHING).certify(
        InputImage(BLACK if harmful else WHITE), "?"
    )
    q = float(ndtr(radius / made.sigma))
    return made.model_copy(update={"radius": radius, "radius_oracle": radius, "q_lower": q})


class Blinking(MemoryStore):
    """A store that can be out for a while, and lets others act just before it keeps something."""

    out = False
    meanwhile: Callable[[], object] | None = None

    def get(self, key: CertificateKey) -> Certificate | None:
        if self.out:
            raise StoreError("out")
        return super().get(key)

    def put(self, key: CertificateKey, certificate: Certificate) -> None:
        if self.out:
            raise StoreError("out")
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        super().put(key, certificate)


class TestAttacks:
    @pytest.mark.slow
    def test_no_crowd_of_decoys_hides_a_refusal(self) -> None:
        """Pixels that change places within a block leave the sketch as it is: such pictures are all as likely near."""
        rng = np.random.default_rng(1)
        base = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
        model = HalfSpaceVLM(float((base / 255.0).sum()))
        guard = Guard(model, ORACLE, smoothing=SMOOTHING, store=MemoryStore(), near=NearHits(0.25))
        refused = guard.check(changed(base, 1, 1 if base.flat[0] < 255 else -1), "?")
        assert refused.reasons == (Reason.ABSTAINED,)
        for _ in range(300):
            decoy = base.copy()
            block = decoy[8:16, 8:16].reshape(-1, 3)
            decoy[8:16, 8:16] = rng.permutation(block).reshape(8, 8, 3)
            guard.check(InputImage(decoy), "?")
        assert guard.check(InputImage(base), "?").source == "near"

    def test_an_outage_of_the_store_forgets_no_refusal(self) -> None:
        store = Blinking()
        guard, _ = guarded(store=store)
        assert guard.check(InputImage(GREY), "?").source == "computed"
        store.out = True
        assert guard.check(changed(GREY, 1), "?").source == "computed"
        store.out = False
        assert guard.check(changed(GREY, 2), "?").source == "near"

    def test_whoever_comes_before_a_certificate_is_stored_does_not_drop_its_point(self) -> None:
        store = Blinking()
        guard, _ = guarded(store=store)
        store.meanwhile = lambda: guard.check(changed(GREY, 1), "?")
        guard.check(InputImage(GREY), "?")
        assert guard.check(changed(GREY, 2), "?").source == "near"
        assert len(guard.near.index) == 2  # type: ignore[union-attr]

    def test_of_two_contradicting_certificates_at_once_both_go(self) -> None:
        store, near = Blinking(), NearHits(0.0)
        at = Smoothing(key=KEY, samples=100, method="fixed")
        liar = Guard(HalfSpaceVLM(-1e6), ORACLE, smoothing=at, store=store, near=near)
        other = Guard(HalfSpaceVLM(1e6), ORACLE, smoothing=at, store=store, near=near)
        store.meanwhile = lambda: other.check(changed(GREY, 30), "?")
        liar.check(InputImage(GREY), "?")
        left = [liar.check(InputImage(GREY), "?").certificate, other.check(changed(GREY, 30), "?").certificate]
        assert [c.stop_reason for c in left if c is not None] == ["contradicted", "contradicted"]
