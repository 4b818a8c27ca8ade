"""The algorithm on models of which the truth is known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binom, norm

from guardrail import Certificate, InputImage, Prompt, SmoothedClassifier, Smoothing, Turn, Verdict
from guardrail.errors import ConfigurationError, ModelError, OracleError, PromptError, TooManyImagesError
from guardrail.models.base import Answer, Draw, Sizes
from guardrail.oracles import LexiconOracle
from guardrail.prompts import ImagePlace
from tests.kit.simulations import simulations
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

KEY = b"the key of these tests"


def picture(value: int, size: tuple[int, int] = (4, 4)) -> InputImage:
    return InputImage(np.full((*size, 3), value, np.uint8))


def classifier(model: object, oracle: object = ORACLE, **smoothing: object) -> SmoothedClassifier:
    settings = Smoothing.model_validate({"key": KEY, **smoothing})
    return SmoothedClassifier(model, oracle, settings)  # type: ignore[arg-type]


def test_a_clear_picture_is_certified_harmless() -> None:
    model = HalfSpaceVLM(threshold=10.0)
    certificate = classifier(model).certify(picture(255), "Is this fine?")
    assert certificate.verdict is Verdict.HARMLESS
    assert (certificate.certified_class, certificate.cell) == ("harmless", ("harmless",))
    assert certificate.counts == {"harmful": 0, "harmless": 100, "illegible": 0}
    assert certificate.radius == pytest.approx(0.747732, abs=1e-6)
    assert certificate.radius == certificate.radius_oracle
    assert certificate.radius_true is None
    assert certificate.p_lower is None
    assert certificate.answer == "good"
    assert any("oracle error not measured" in warning for warning in certificate.warnings)


def test_harmful_and_undecided_pictures() -> None:
    x = picture(128)
    boundary = float((x.pixels / 255).sum())
    harmful = classifier(HalfSpaceVLM(boundary + 10)).certify(x, "?")
    assert harmful.verdict is Verdict.HARMFUL
    assert harmful.answer is None, "no harmful answer is kept"
    undecided = classifier(HalfSpaceVLM(boundary)).certify(x, "?")
    assert undecided.verdict is Verdict.ABSTAIN
    assert undecided.certified_class is None
    assert undecided.radius == undecided.radius_original_pixels == 0.0
    assert undecided.answer is None
    assert undecided.q_lower <= 0.5


def test_low_robustness_is_a_warning() -> None:
    x = picture(128)
    model = HalfSpaceVLM(float((x.pixels / 255).sum()) - 0.127 * np.sqrt(x.pixels.size))
    certificate = classifier(model, samples=1000).certify(x, "?")  # q = 0.6, so its bound lies near 0.55
    assert 0.0 < certificate.radius < 0.1
    assert any("low robustness" in warning for warning in certificate.warnings)


@pytest.mark.simulation
@pytest.mark.slow
def test_certificates_are_false_at_most_at_rate_alpha() -> None:
    """A certificate is false iff its radius exceeds the known distance to the boundary.

    Tolerance: with false certificates of probability at most α, more than the 1 − 1e-6 quantile of Binomial(M, α)
    of them come once in a million runs; the key, and so every draw, is fixed anyway.
    """
    alpha, trials, runs = 0.05, 30, simulations(1500)
    rng = np.random.default_rng(0)
    false = certified = 0
    for run in range(runs):
        x = InputImage(rng.integers(0, 256, (1, 1, 3), dtype=np.uint8))
        q = rng.choice([0.55, 0.7, 0.9])
        model = HalfSpaceVLM(0.0)
        model.threshold = model.distance(x.pixels / 255) * np.sqrt(3) - 0.5 * norm.ppf(q) * np.sqrt(3)
        distance = model.distance(x.pixels / 255)
        assert norm.cdf(distance / 0.5) == pytest.approx(q)
        certificate = classifier(model, samples=trials, alpha=alpha).certify(x, f"run {run}")
        certified += certificate.verdict is Verdict.HARMLESS
        false += certificate.verdict is Verdict.HARMLESS and certificate.radius > distance
        false += certificate.verdict is Verdict.HARMFUL
    assert certified > runs / 4
    assert false <= binom.ppf(1 - 1e-6, runs, alpha)
    assert false > 0, "a bound that is never wrong at α = 0.05 is not the bound that was asked for"


def test_the_certificate_holds_at_every_change_within_the_radius() -> None:
    x = picture(180)
    model = HalfSpaceVLM(float((x.pixels / 255).sum()) - 3.0)
    certificate = classifier(model).certify(x, "?")
    assert 0 < certificate.radius < model.distance(x.pixels / 255)


class TestDraws:
    """Each draw has its own noise and seed; nothing else has a say in them."""

    def test_the_same_key_gives_the_same_certificate(self) -> None:
        model = HalfSpaceVLM(24.3)
        first, second = (classifier(model).certify(picture(128), "?") for _ in range(2))
        assert first == second
        other = classifier(model, key=b"another key, also long")
        assert not np.array_equal(
            self._noise(other, picture(128), "?"), self._noise(classifier(model), picture(128), "?")
        )

    def test_without_a_key_each_classifier_has_its_own(self) -> None:
        model = HalfSpaceVLM(24.3)
        certificates = {SmoothedClassifier(model, ORACLE).certify(picture(128), "?").to_json() for _ in range(4)}
        assert len(certificates) > 1

    def test_any_change_of_the_request_draws_anew(self) -> None:
        """Every bit of the pixels, the prompt, the model, the oracle and the smoothing key the noise."""
        base = classifier(HalfSpaceVLM(24.3))
        changed = picture(128).pixels.copy()
        changed[0, 0, 0] += 1
        noises = [
            self._noise(base, picture(128), "?"),
            self._noise(base, InputImage(changed), "?"),
            self._noise(base, picture(128), "!"),
            self._noise(classifier(HalfSpaceVLM(24.3, name="another")), picture(128), "?"),
            self._noise(classifier(HalfSpaceVLM(24.3), LexiconOracle({"harmful": ["x"]})), picture(128), "?"),
            self._noise(classifier(HalfSpaceVLM(24.3), samples=101), picture(128), "?"),
            self._noise(classifier(HalfSpaceVLM(24.3), alpha=0.002), picture(128), "?"),
        ]
        assert len({noise.tobytes() for noise in noises}) == len(noises)

    @staticmethod
    def _noise(classifier: SmoothedClassifier, image: InputImage, prompt: str) -> np.ndarray:
        draw = classifier.draws(classifier.request(image, prompt), [0])[0]
        return draw.images()[0] - image.pixels.astype(np.float32) / 255

    def test_draws_do_not_depend_on_their_batch(self) -> None:
        base = classifier(HalfSpaceVLM(24.3))
        together = base.draws(base.request(picture(128), "?"), range(10))
        alone = base.draws(base.request(picture(128), "?"), [7])
        assert np.array_equal(together[7].images()[0], alone[0].images()[0])
        assert together[7].sampling_seed == alone[0].sampling_seed

    def test_one_sampling_seed_for_a_request_would_void_the_certificate(self) -> None:
        """A model that complies for 60 % of its seeds, whatever it sees: with a seed of its own each draw is a coin,
        and nothing is certified harmless; with one seed for the request all draws agree."""

        @dataclass
        class Coin:
            own_seed: bool
            name: str = "coin"
            resolution: tuple[int, int] | None = None

            def check(self, prompt: Prompt, sizes: Sizes) -> None: ...

            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                seeds = [draw.sampling_seed if self.own_seed else draws[0].sampling_seed for draw in draws]
                return [Answer("bad" if seed % 10 < 6 else "good") for seed in seeds]

        def verdicts(own_seed: bool) -> list[Verdict]:
            smoothed = classifier(Coin(own_seed))
            return [smoothed.certify(picture(128, (1, 1)), f"prompt {i}").verdict for i in range(60)]

        assert Verdict.HARMLESS not in verdicts(own_seed=True)
        assert verdicts(own_seed=False).count(Verdict.HARMLESS) > 5


@dataclass
class Failing:
    """Says `good`, but fails on a share of its draws: those that would have been harmful."""

    share: float
    name: str = "failing"
    resolution: tuple[int, int] | None = None

    def check(self, prompt: Prompt, sizes: Sizes) -> None: ...

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        limit = self.share * 2**63
        return [Answer.failure("filtered") if d.sampling_seed < limit else Answer("good") for d in draws]


class TestFailedDraws:
    def test_failed_draws_are_a_class_of_their_own(self) -> None:
        certificate = classifier(Failing(0.6)).certify(picture(128), "?")
        assert certificate.counts["failed"] > 40
        assert sum(certificate.counts.values()) == certificate.draws == 100
        assert certificate.verdict is Verdict.ABSTAIN

    def test_dropping_failed_draws_would_certify_a_harmful_model(self) -> None:
        """With 60 % of the answers filtered for their content, what is left agrees: 40 of 40 are `good`."""
        certificate = classifier(Failing(0.6)).certify(picture(128), "?")
        left = certificate.draws - certificate.counts["failed"]
        assert certificate.counts["harmless"] == left

    def test_a_few_failures_cost_radius(self) -> None:
        certificate = classifier(Failing(0.05)).certify(picture(128), "?")
        assert certificate.verdict is Verdict.HARMLESS
        assert certificate.radius < 0.75
        assert any("failed" in warning for warning in certificate.warnings)

    def test_a_judgement_that_fails_is_a_failed_draw(self) -> None:
        class Unsure:
            name = "unsure"
            classes = ("harmful", "harmless")

            def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
                return ["failed"] * len(answers)

        certificate = classifier(HalfSpaceVLM(0.0), Unsure()).certify(picture(128), "?")
        assert certificate.counts == {"failed": 100, "harmful": 0, "harmless": 0}
        assert certificate.verdict is Verdict.ABSTAIN


class TestClassRules:
    def test_a_guard_tests_all_classes_that_can_be_certified(self) -> None:
        certificate = classifier(HalfSpaceVLM(0.0)).certify(picture(128), "?")
        assert certificate.class_rule == "all: harmful, harmless; any of them false with probability at most alpha"

    def test_more_classes_cost_nothing(self) -> None:
        actions = LexiconOracle({"left": ["good"], "right": ["bad"]}, otherwise="no action")
        certificate = classifier(HalfSpaceVLM(0.0), actions).certify(picture(255), "?")
        assert certificate.verdict is Verdict.CERTIFIED
        assert certificate.certified_class == "left"
        assert certificate.q_lower == classifier(HalfSpaceVLM(0.0)).certify(picture(255), "?").q_lower
        assert certificate.class_rule.startswith("all: left, right, no action;")

    def test_illegible_is_never_certified(self) -> None:
        blind = LexiconOracle({"harmful": ["x"], "harmless": ["y"], "illegible": ["good"]}, otherwise="harmless")
        certificate = classifier(HalfSpaceVLM(-100.0), blind).certify(picture(255), "?")
        assert certificate.counts["illegible"] == 100
        assert certificate.verdict is Verdict.ABSTAIN
        assert "never certified, whatever the draws: illegible" in certificate.warnings

    def test_choosing_the_class_on_its_own_draws_would_break_alpha(self) -> None:
        """Testing the leading of K classes at full α is false more often than α; sharing α is not (enumeration).

        Two classes of probability 1/2 each: any certificate is false.
        """
        n, alpha = 30, 0.05
        full, shared = (
            sum(binom.pmf(k, n, 0.5) for k in range(n + 1) if binom.sf(max(k, n - k) - 1, n, 0.5) <= level)
            for level in (alpha, alpha / 2)
        )
        assert full > alpha
        assert shared <= alpha


class TestSpaces:
    def test_the_radius_in_original_pixels_is_larger_when_shrinking(self) -> None:
        model = HalfSpaceVLM(0.0, resolution=(16, 16))
        certificate = classifier(model).certify(picture(255, (64, 48)), "?")
        assert certificate.resolution == ((16, 16),)
        assert certificate.radius_original_pixels > certificate.radius
        assert certificate.radius_linf == pytest.approx(certificate.radius / np.sqrt(3 * 16 * 16))

    def test_several_images_are_joint(self) -> None:
        model = HalfSpaceVLM(0.0, resolution=(16, 16))
        one = classifier(model).certify(picture(255, (64, 64)), "?")
        two = classifier(model).certify([picture(255, (64, 64)), picture(255, (8, 8))], "?")
        assert len(two.image_sha256) == len(two.resolution) == 2
        assert two.radius_original_pixels < one.radius_original_pixels  # the small image is stretched

    def test_a_model_without_resolution_gets_the_image_s_own_bounded(self) -> None:
        certificate = classifier(HalfSpaceVLM(0.0), max_side=32, samples=2).certify(picture(255, (64, 20)), "?")
        assert certificate.resolution == ((32, 10),)


class TestBadInput:
    def test_places_must_fit_the_images(self) -> None:
        lonely = Prompt((Turn("user", ("no place for the image",)),))
        with pytest.raises(PromptError, match="places for images"):
            classifier(HalfSpaceVLM(0.0)).certify(picture(1), lonely)
        swapped = Prompt((Turn("user", (ImagePlace(1), ImagePlace(0))),))
        with pytest.raises(PromptError, match="in order"):
            classifier(HalfSpaceVLM(0.0)).certify([picture(1), picture(2)], swapped)

    def test_too_many_images(self) -> None:
        with pytest.raises(TooManyImagesError):
            classifier(HalfSpaceVLM(0.0)).certify([picture(1)] * 9, "?")

    def test_no_images(self) -> None:
        with pytest.raises(PromptError, match="without images"):
            classifier(HalfSpaceVLM(0.0)).certify([], "?")

    def test_a_short_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="16 bytes"):
            Smoothing(key=b"short")

    @pytest.mark.parametrize("wrong", [{"sigma": 0}, {"samples": 0}, {"alpha": 1}, {"sigma": float("inf")}, {"n": 5}])
    def test_impossible_smoothing_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Smoothing.model_validate(wrong)

    @pytest.mark.parametrize("classes", [("Harmful", "harmless"), ("safe", "unsafe"), ("violence", "harmless")])
    def test_verdicts_by_another_name_are_refused(self, classes: tuple[str, str]) -> None:
        with pytest.raises(ConfigurationError, match="harmful"):
            SmoothedClassifier(HalfSpaceVLM(0.0), LexiconOracle({classes[0]: ["x"]}, otherwise=classes[1]))

    def test_an_oracle_without_classes_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="no class"):
            SmoothedClassifier(HalfSpaceVLM(0.0), LexiconOracle({"illegible": ["x"]}, otherwise="illegible"))

    def test_a_model_that_breaks_is_a_model_error(self) -> None:
        class Broken(HalfSpaceVLM):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                raise ZeroDivisionError("boom")

        class Short(HalfSpaceVLM):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                return super().answer(draws, deadline)[:-1]

        class Silent(HalfSpaceVLM):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                return [*super().answer(draws[:-1], deadline), None]  # type: ignore[list-item]

        with pytest.raises(ModelError, match="boom"):
            classifier(Broken(0.0)).certify(picture(1), "?")
        with pytest.raises(ModelError, match="99 answers to 100 draws"):
            classifier(Short(0.0)).certify(picture(1), "?")
        with pytest.raises(ModelError, match="gave a NoneType, not an Answer"):
            classifier(Silent(0.0)).certify(picture(1), "?")

    def test_an_oracle_that_breaks_is_an_oracle_error(self) -> None:
        class Strange:
            name = "strange"
            classes = ("harmful", "harmless")

            def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
                return ["harmless?"] * len(answers)

        with pytest.raises(OracleError, match="harmless\\?"):
            classifier(HalfSpaceVLM(0.0), Strange()).certify(picture(1), "?")


@pytest.mark.parametrize("deterministic", [True, False, None])
def test_identical_answers_are_judged_once_by_a_function_alone(deterministic: bool | None) -> None:
    class Counting:
        name = "counting"
        classes = ("harmful", "harmless")

        def __init__(self) -> None:
            self.deterministic = deterministic
            self.asked: list[str] = []

        def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
            self.asked.extend(answers)
            return ["harmless" if answer == "good" else "harmful" for answer in answers]

    oracle = Counting()
    certificate = classifier(HalfSpaceVLM(24.3), oracle).certify(picture(128), "?")
    assert len(oracle.asked) == (2 if deterministic else certificate.draws)
    assert set(oracle.asked) == {"bad", "good"}
    assert certificate.judgements == ("function" if deterministic else "afresh")


def test_a_passed_deadline_counts_the_missing_draws_as_failed() -> None:
    class Slow(HalfSpaceVLM):
        def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            done = super().answer(draws[:20], deadline)
            assert deadline is not None
            return done + [Answer.failure("deadline")] * (len(draws) - 20)

    certificate = classifier(Slow(0.0)).certify(picture(255), "?", deadline=time.monotonic() + 1)
    assert certificate.stop_reason == "deadline"
    assert certificate.counts["failed"] == 80
    assert certificate.verdict is Verdict.ABSTAIN


def test_the_json_round_trip_is_exact() -> None:
    certificate = classifier(HalfSpaceVLM(24.0)).certify(picture(130), "?")
    assert Certificate.from_json(certificate.to_json()) == certificate
    assert KEY.decode() not in certificate.to_json()
    with pytest.raises(ValueError, match="extra"):
        Certificate.from_json(certificate.to_json()[:-1] + ',"extra":1}')


def test_the_key_is_in_no_repr_and_no_dump() -> None:
    smoothing = Smoothing(key=KEY)
    assert KEY.decode() not in repr(smoothing) + str(smoothing.model_dump()) + smoothing.model_dump_json()
