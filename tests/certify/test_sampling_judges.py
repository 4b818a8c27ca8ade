"""A judge that samples: asked about every draw its certificates hold; remembered or redrawn they are one coin each.

The model gives one answer to every draw, so that all chance is the judge's, and truth is known: a certificate of
harmless is false where the judge says harmless of that answer with probability at most 1/2, and one of what the answers
*are* where the answer is harmful.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from pydantic import SecretBytes
from scipy.stats import binom

from guardrail import Certificate, Guard, InputImage, SmoothedClassifier, Smoothing, Verdict
from guardrail.errors import ConfigurationError
from guardrail.oracles import EnsembleOracle, IllegibleOracle, Oracle, RememberingOracle
from guardrail.oracles.base import OracleTraits
from guardrail.policy import Source
from guardrail.prompts import Prompt
from guardrail.statistics import OracleError as ErrorModel
from guardrail.statistics import SymmetricError, UnknownSymmetricError, WorstCaseError
from guardrail.stores import MemoryStore
from tests.kit.simulations import simulations
from tests.kit.synthetic import ORACLE, Coin, CoinVLM

KEY = b"the key of these tests"
ALPHA, NUMBER = 0.05, simulations(500)
ALLOWED = binom.isf(1e-6, NUMBER, ALPHA)
"""A rule at most α gives more false certificates than this once in a million runs."""
SMOOTHING = Smoothing(samples=60, alpha=ALPHA, key=SecretBytes(KEY))


@dataclass
class OwnCoin:
    """What somebody writes who reads nothing of this: a name, classes and `classify`."""

    p: float
    name: str = "own coin"
    classes: tuple[str, ...] = ("harmless", "harmful")
    coins: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        return [self.classes[self.coins.random() >= self.p] for _ in answers]


@dataclass
class Remembered(OwnCoin):
    """The same, which says that it is a function, and is none: the core then asks it once per answer and request."""

    deterministic: bool = True


def pictures(number: int) -> Iterator[InputImage]:
    """Yield that many different pictures."""
    for i in range(number):
        pixels = np.full((4, 4, 3), 128, np.uint8)
        pixels[0, :3, 0] = i // 65536, i // 256 % 256, i % 256
        yield InputImage(pixels)


def checked(oracle: Oracle, number: int = NUMBER, smoothing: Smoothing = SMOOTHING) -> list[Certificate]:
    """Check that many pictures, each answered in the same words."""
    guard = Guard(CoinVLM(1.0), oracle, smoothing=smoothing)
    certificates = [guard.check(picture, "?").certificate for picture in pictures(number)]
    return [certificate for certificate in certificates if certificate is not None]


def harmless(certificates: Sequence[Certificate]) -> int:
    return sum(certificate.verdict is Verdict.HARMLESS for certificate in certificates)


@pytest.mark.simulation
class TestTheOraclesVerdict:
    """P[says harmless] = 0.45: no certificate of harmless is true. Remembered, 45 % of the pictures got one."""

    @pytest.mark.parametrize("p", [0.45, 0.5])
    @pytest.mark.parametrize(
        "judge",
        [OwnCoin, Coin, lambda p: IllegibleOracle(OwnCoin(p)), lambda p: IllegibleOracle(Coin(p))],
        ids=["classify alone", "by seeds", "classify alone, wrapped", "by seeds, wrapped"],
    )
    def test_asked_about_every_draw_it_is_false_at_most_at_alpha(self, judge: type[OwnCoin], p: float) -> None:
        certificates = checked(judge(p))
        assert {certificate.judgements for certificate in certificates} == {"afresh"}
        assert harmless(certificates) <= ALLOWED

    def test_beside_a_function_too(self) -> None:
        """Harmless by both, of which one samples: an ensemble is a function only where all members are."""
        certificates = checked(EnsembleOracle((Coin(0.45), Remembered(1.0, "always harmless"))))
        assert {certificate.judgements for certificate in certificates} == {"afresh"}
        assert harmless(certificates) <= ALLOWED

    def test_remembered_it_is_false_as_often_as_the_coin_says(self) -> None:
        """The rule broken on purpose, by an oracle that lies about itself."""
        low, high = binom.ppf([1e-6, 1 - 1e-6], NUMBER, 0.45)
        assert low <= harmless(checked(Remembered(0.45))) <= high

    def test_what_is_true_is_certified_all_the_same(self) -> None:
        assert harmless(checked(OwnCoin(0.95))) >= 0.9 * NUMBER
        assert harmless(checked(Coin(0.95))) >= 0.9 * NUMBER


@pytest.mark.long
@pytest.mark.parametrize("p", [0.45, 0.5])
def test_an_own_oracle_with_classify_alone_at_the_default_alpha(p: float) -> None:
    number = 20_000
    assert harmless(checked(OwnCoin(p), number, Smoothing())) <= binom.isf(1e-6, number, 0.001)


class TestTheSamePictureUnderOtherKeys:
    def verdicts(self, oracle: Oracle) -> Counter[Verdict]:
        (picture,) = pictures(1)
        seen = Counter[Verdict]()
        for i in range(30):
            smoothing = Smoothing(alpha=ALPHA, key=SecretBytes(b"%016d" % i))
            seen[SmoothedClassifier(CoinVLM(1.0), oracle, smoothing).certify(picture, "?").verdict] += 1
        return seen

    def test_redrawn_it_says_both(self) -> None:
        """As when a table of judgements is begun anew at every start: 15 harmless and 15 harmful, in a trial."""
        seen = self.verdicts(Remembered(0.5))
        assert seen[Verdict.HARMLESS] + seen[Verdict.HARMFUL] == 30
        assert min(seen[Verdict.HARMLESS], seen[Verdict.HARMFUL]) > 3

    def test_kept_it_says_one(self) -> None:
        assert len(self.verdicts(RememberingOracle(Coin(0.5), key=KEY))) == 1

    def test_afresh_it_says_neither(self) -> None:
        assert self.verdicts(Coin(0.5))[Verdict.ABSTAIN] >= 25


class TestKeptTable:
    """`q` is about the table, and exact about it; what the answers are it says by transfer only."""

    def test_every_certificate_is_what_the_table_says(self) -> None:
        table, prompts = RememberingOracle(Coin(0.5), 5, key=KEY), [Prompt.of(f"{i}?", 1) for i in range(40)]
        classifier = SmoothedClassifier(CoinVLM(1.0), table, Smoothing(key=SecretBytes(KEY)))
        (picture,) = pictures(1)
        said = [table.classify(["harmless"], [prompt])[0] for prompt in prompts]
        assert set(said) == {"harmless", "harmful"}
        for prompt, label in zip(prompts, said, strict=True):
            certificate = classifier.certify(picture, prompt)
            assert (certificate.certified_class, certificate.judgements) == (label, "kept table")

    @pytest.mark.simulation
    def test_a_rate_of_errors_holds_for_a_share_of_the_requests_alone(self) -> None:
        """Every answer is harmful, and 4 % of the table wrong: so are as many certificates, and each warns of it."""
        table = RememberingOracle(Coin(0.04), key=KEY)
        error = WorstCaseError(rate_upper=0.05)
        with pytest.raises(ConfigurationError, match="transfer"):
            Guard(CoinVLM(1.0), table, smoothing=Smoothing(oracle_error=error))
        guard = Guard(CoinVLM(1.0), table, smoothing=Smoothing(samples=60, oracle_error=error, transfer=True))
        (picture,) = pictures(1)
        found = [guard.check(picture, f"{i}?").certificate for i in range(NUMBER)]
        certificates = [certificate for certificate in found if certificate is not None]
        low, high = binom.ppf([1e-6, 1 - 1e-6], NUMBER, 0.04)
        assert low <= harmless(certificates) <= high
        assert all(any("transfer" in said for said in one.warnings) for one in certificates)


@pytest.mark.simulation
class TestWhatTheAnswersAre:
    """Error models beside judges that sample: false where `p_lower` exceeds the share of answers that are harmless."""

    def false(self, oracle: Oracle, error: ErrorModel, p: float) -> int:
        guard = Guard(CoinVLM(p), oracle, smoothing=SMOOTHING.model_copy(update={"oracle_error": error}))
        found = [guard.check(picture, "?").certificate for picture in pictures(NUMBER)]
        assert len({certificate.judgements for certificate in found if certificate is not None}) == 1
        return sum(
            certificate.verdict is Verdict.HARMLESS and (certificate.p_lower or 0.0) > p
            for certificate in found
            if certificate is not None
        )

    @dataclass
    class Errs:
        """Says what the answer says, and errs on a share of its judgements, by the seed of each."""

        rate: float
        name: str = "errs"
        classes: tuple[str, ...] = ("harmless", "harmful")
        coins: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))

        def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
            return self.classify_draws(answers, prompts, self.coins.integers(0, 2**63, len(answers)).tolist())

        def classify_draws(self, answers: Sequence[str], prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[str]:
            other = {"harmless": "harmful", "harmful": "harmless"}
            return [other[a] if s < self.rate * 2**63 else a for a, s in zip(answers, seeds, strict=True)]

    class Remembered(Errs):
        deterministic = True

    def test_a_worst_case_holds_afresh_and_not_remembered(self) -> None:
        """True p = 0, and the judge errs on 10 % of its calls, honestly bounded: remembered, on 10 % of pictures."""
        error = WorstCaseError(rate_upper=0.1)
        assert self.false(self.Errs(0.1), error, 0.0) <= ALLOWED
        low, high = binom.ppf([1e-6, 1 - 1e-6], NUMBER, 0.1)
        assert max(low, 0.05 * NUMBER) <= self.false(self.Remembered(0.1), error, 0.0) <= high

    @pytest.mark.parametrize("error", [SymmetricError(rate_lower=0.1), UnknownSymmetricError()], ids=lambda e: e.kind)
    @pytest.mark.parametrize("p", [0.45, 0.75])
    def test_models_of_independent_errors_hold_afresh(self, error: ErrorModel, p: float) -> None:
        assert self.false(self.Errs(0.1), error, p) <= ALLOWED


class TestRepeating:
    """By seeds a judge says the same again; without, outcomes stand as those of a model that cannot repeat draws."""

    def test_by_seeds_a_request_gets_its_certificate_again(self) -> None:
        for picture in pictures(5):
            one, other = (SmoothedClassifier(CoinVLM(1.0), Coin(0.6), SMOOTHING) for _ in range(2))
            assert one.repeats
            assert one.certify(picture, "?") == other.certify(picture, "?")

    def test_seeds_are_of_key_request_and_draw_and_of_no_other_use(self) -> None:
        seen: list[int] = []

        class Watched(Coin):
            def classify_draws(
                self, answers: Sequence[str], prompts: Sequence[Prompt], seeds: Sequence[int]
            ) -> list[str]:
                seen.extend(seeds)
                return super().classify_draws(answers, prompts, seeds)

        model = CoinVLM(1.0)
        for rule in ("selection", "all"):
            classifier = SmoothedClassifier(model, Watched(0.5), Smoothing(key=SecretBytes(KEY), class_rule=rule))
            for picture in pictures(2):
                request = classifier.request(picture, "?")
                drawn = [draw.sampling_seed for draw in classifier.draws(request, range(100))]
                drawn += [draw.sampling_seed for draw in classifier.draws(request, range(20), "selection")]
                seen.clear()
                certificate = classifier.run(request)
                assert len(set(seen)) == len(seen) == certificate.draws + certificate.selection_draws
                assert all(0 <= seed < 2**63 for seed in seen)
                assert not {*seen} & {*drawn}

    @pytest.mark.parametrize(("oracle", "repeats"), [(ORACLE, True), (Coin(0.5), True), (OwnCoin(0.5), False)])
    def test_what_cannot_be_had_again_is_known(self, oracle: Oracle, repeats: bool) -> None:
        assert OracleTraits.of(oracle).repeats_judgements is repeats
        assert SmoothedClassifier(CoinVLM(1.0), oracle).repeats is repeats

    def test_asking_again_is_no_second_chance(self) -> None:
        """One picture, asked 300 times within a deadline that cuts it after a look: the first outcome stands."""
        guard = Guard(CoinVLM(1.0), OwnCoin(0.45), smoothing=SMOOTHING, store=MemoryStore())
        (picture,) = pictures(1)
        sources: list[Source | None] = [guard.check(picture, "?").source for _ in range(20)]
        assert sources == ["computed", *["hit"] * 19]

    def test_certificates_of_a_remembered_judge_are_no_others(self) -> None:
        """What was certified of a judge when it was taken for a function is not served once it is not."""
        store, (picture,) = MemoryStore(), pictures(1)
        for judge in (Remembered(0.5), OwnCoin(0.5), Remembered(0.5)):
            Guard(CoinVLM(1.0), judge, smoothing=SMOOTHING, store=store).check(picture, "?")
        assert len(store) == 2
