"""Several oracles together: what they say, and how often they are wrong together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pytest
from pydantic import SecretBytes, TypeAdapter, ValidationError
from scipy.stats import binom

from guardrail import InputImage, SmoothedClassifier, Smoothing
from guardrail.errors import ConfigurationError, OracleError
from guardrail.oracles import EnsembleOracle, LexiconOracle, Oracle, RefusalOracle, RememberingOracle
from guardrail.oracles.base import TIMED_OUT, OracleTraits
from guardrail.oracles.ensemble import Rule
from guardrail.prompts import Prompt
from guardrail.statistics import (
    ClassConditionalError,
    Derivation,
    ImpossibleRateError,
    LabelledAnswers,
    SymmetricError,
    WorstCaseError,
)
from guardrail.statistics import OracleError as ErrorModel
from tests.kit.simulations import simulations
from tests.kit.synthetic import CoinVLM

WORDS = {"0": "harmless", "1": "harmful", "i": "illegible", "f": "failed", "t": TIMED_OUT}


@dataclass
class Member:
    """Says what its own character of the answer stands for: an answer spells what the members say of it."""

    place: int
    classes: tuple[str, ...] = ("harmless", "harmful", "illegible")
    deterministic: bool | None = True
    asked: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"member/{self.place}"

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        self.asked += answers
        return [WORDS[answer[self.place]] for answer in answers]


def ensemble(members: int, rule: Rule = "any-harmful") -> EnsembleOracle:
    return EnsembleOracle(tuple(Member(i) for i in range(members)), rule)


def said(oracle: Oracle, *answers: str) -> list[str]:
    return oracle.classify(answers, [Prompt(())] * len(answers))


class TestRules:
    @pytest.mark.parametrize(
        ("words", "label"),
        [
            ("000", "harmless"),
            ("001", "harmful"),
            ("111", "harmful"),
            ("f01", "harmful"),
            ("00f", "failed"),
            ("0tf", TIMED_OUT),
            ("0i0", "illegible"),
            ("iii", "illegible"),
            ("if0", "failed"),
        ],
    )
    def test_any_harmful(self, words: str, label: str) -> None:
        assert said(ensemble(3), words) == [label]

    def test_members_that_disagree_beyond_harm(self) -> None:
        oracle = EnsembleOracle(tuple(Member(i, ("harmless", "harmful", "illegible", "odd")) for i in range(2)))
        WORDS["o"] = "odd"
        assert said(oracle, "io", "0o") == ["failed: members disagree", "odd"]

    @pytest.mark.parametrize(
        ("words", "label"),
        [
            ("001", "harmless"),
            ("011", "harmful"),
            ("0f0", "harmless"),
            ("0f1", "failed"),
            ("t01", TIMED_OUT),
            ("01i", "failed: no majority"),
            ("ff0", "failed"),
            ("0011", "failed: no majority"),
            ("0001", "harmless"),
            ("ffff", "failed"),
        ],
    )
    def test_majority(self, words: str, label: str) -> None:
        assert said(ensemble(len(words), "majority"), words) == [label]

    def test_later_members_are_asked_about_what_is_open(self) -> None:
        oracle = ensemble(3, "majority")
        assert said(oracle, "001", "010", "100") == ["harmless"] * 3
        assert [member.asked for member in oracle.oracles if isinstance(member, Member)] == [
            ["001", "010", "100"],
            ["001", "010", "100"],
            ["010", "100"],
        ]
        oracle = ensemble(2)
        assert said(oracle, "10", "00", "f1") == ["harmful", "harmless", "harmful"]
        assert oracle.oracles[1].asked == ["00", "f1"]  # type: ignore[attr-defined]

    def test_it_is_an_oracle(self) -> None:
        oracle = ensemble(2)
        assert isinstance(oracle, Oracle)
        assert said(oracle) == []
        assert oracle.classes == ("harmless", "harmful", "illegible")
        names = {ensemble(2).name, ensemble(2, "majority").name, ensemble(3).name}
        assert len(names) == 3
        assert "member/0" in oracle.name

    @pytest.mark.parametrize(
        ("members", "together"),
        [
            ((True, True), True),
            ((False, False), False),
            ((None, None), None),
            ((True, False), None),
            ((True, None), None),
            ((False, None), None),
        ],
    )
    def test_it_is_what_all_its_members_are(self, members: tuple[bool | None, ...], together: bool | None) -> None:
        oracle = EnsembleOracle(tuple(Member(i, deterministic=said) for i, said in enumerate(members)))
        assert oracle.deterministic is together
        assert OracleTraits.of(oracle).judgements == ("function" if together else "afresh")

    def test_members_that_sample_have_seeds_of_their_own(self) -> None:
        class Seeded(Member):
            def classify_draws(
                self, answers: Sequence[str], prompts: Sequence[Prompt], seeds: Sequence[int]
            ) -> list[str]:
                return ["harmless" if seed % 2 else "harmful" for seed in seeds]

        twins = EnsembleOracle((Seeded(0, deterministic=False),) * 2)
        asked = ["?"] * 4_000, [Prompt(())] * 4_000
        said = twins.classify_draws(*asked, range(4_000))
        assert said == twins.classify_draws(*asked, range(4_000))
        low, high = binom.ppf([1e-6, 1 - 1e-6], 4_000, 0.25)
        assert low <= said.count("harmless") <= high, "harmless by two coins, not twice by one"

    def test_deadlines_are_passed_on(self) -> None:
        class Late(Member):
            def classify(
                self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None
            ) -> list[str]:
                assert deadline is not None
                return [TIMED_OUT for _ in answers] if time.monotonic() >= deadline else ["harmless" for _ in answers]

        oracle = EnsembleOracle((Member(0), Late(1)))
        prompts = [Prompt(())] * 2
        assert oracle.classify(["00", "10"], prompts, time.monotonic()) == [TIMED_OUT, "harmful"]
        assert oracle.classify(["00", "10"], prompts, time.monotonic() + 60) == ["harmless", "harmful"]

    def test_a_member_that_breaks_breaks_it(self) -> None:
        with pytest.raises(OracleError, match="member/1 failed: KeyError"):
            said(ensemble(2), "0?")

    def test_impossible_ensembles(self) -> None:
        with pytest.raises(ConfigurationError, match="at least two"):
            EnsembleOracle((Member(0),))
        with pytest.raises(ConfigurationError, match="same classes"):
            EnsembleOracle((Member(0), LexiconOracle({"harmful": ["x"]})))
        with pytest.raises(ConfigurationError, match="any-harmful needs"):
            EnsembleOracle((Member(0, ("left", "right")), Member(1, ("left", "right"))))
        with pytest.raises(ConfigurationError, match="rule must be"):
            EnsembleOracle((Member(0), Member(1)), "all")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ errors together


def wrong_rates(
    oracle: EnsembleOracle, words: list[str], truths: list[str], chances: np.ndarray, certified: str
) -> tuple[float, list[float], list[float]]:
    """P[ensemble says A, answer is not A], the same of each member, and P[member says A | answer is not A]."""
    other = np.array([truth != certified for truth in truths])
    rate = float(chances @ (other & (np.array(said(oracle, *words)) == certified)))
    joint = [
        float(chances @ (other & np.array([WORDS[word[i]] == certified for word in words])))
        for i in range(len(oracle.oracles))
    ]
    return rate, joint, [each / max(float(chances @ other), 1e-300) for each in joint]


@pytest.mark.simulation
@pytest.mark.slow
@pytest.mark.parametrize("rule", ["any-harmful", "majority"])
@pytest.mark.parametrize("certified", ["harmless", "harmful", "illegible"])
@pytest.mark.parametrize("members", [2, 3, 4])
def test_no_dependence_exceeds_the_derived_bound(rule: Rule, certified: str, members: int) -> None:
    """Exact, by enumeration: joint distributions at random, most of them far from independent."""
    rng = np.random.default_rng(0)
    oracle = ensemble(members, rule)
    spoken = ["".join(word) for word in product("01if", repeat=members)]
    words, truths = spoken * 3, [truth for truth in oracle.classes for _ in spoken]
    agree = np.array([len({*word}) == 1 for word in words])
    told = 0
    for run in range(simulations(60)):
        chances = rng.dirichlet(np.full(len(words), rng.choice([0.002, 0.02, 0.2])))
        right = np.array([WORDS[word[0]] == truth for word, truth in zip(words, truths, strict=True)])
        chances = np.where(right, chances, 0.2 * chances) * np.where(agree, 1 + 50 * (run % 2), 1)
        chances /= chances.sum()
        rate, joint, conditional = wrong_rates(oracle, words, truths, chances, certified)
        for rates in (joint, conditional):
            try:
                asserted = [
                    WorstCaseError(rate_upper=r)
                    if rates is joint
                    else ClassConditionalError(false_a_upper=r, certified_class=certified)
                    for r in rates
                ]
                error = oracle.error(asserted, certified)
            except (ImpossibleRateError, ValidationError):
                continue
            told += 1
            assert rate <= error.rate_upper + 1e-12
    assert told > 10


@pytest.mark.parametrize("rule", ["any-harmful", "majority"])
def test_independent_members(rule: Rule) -> None:
    """Given the truth, words are independent: the product bound holds, exactly; for members that are alike it fails."""
    oracle = ensemble(3, rule)
    words = ["".join(word) for word in product("01", repeat=3)] * 2
    truths = ["harmless"] * 8 + ["harmful"] * 8
    a, harmful = (0.2, 0.3, 0.1), 0.6
    chance_of_zero = {"harmless": (0.9, 0.8, 0.95), "harmful": a}
    chances = np.array(
        [
            (harmful if truth == "harmful" else 1 - harmful)
            * np.prod([z if w == "0" else 1 - z for z, w in zip(chance_of_zero[truth], word, strict=True)])
            for word, truth in zip(words, truths, strict=True)
        ]
    )
    rate, joint, conditional = wrong_rates(oracle, words, truths, chances, "harmless")
    assert conditional == pytest.approx(a)
    members = [ClassConditionalError(false_a_upper=each, certified_class="harmless") for each in a]
    independent = oracle.error(members, independent=True)
    assert rate == pytest.approx(harmful * independent.rate_upper)
    assert independent.rate_upper < oracle.error(members).rate_upper
    assert "independently" in independent.assumption
    assert "independently" not in oracle.error(members).assumption

    alike = np.array([0.1, 0, 0, 0, 0, 0, 0, 0.3, 0.12, 0, 0, 0, 0, 0, 0, 0.48])  # all say the same, a = 0.2
    rate, joint, conditional = wrong_rates(oracle, words, truths, alike / alike.sum(), "harmless")
    same = [ClassConditionalError(false_a_upper=0.2, certified_class="harmless")] * 3
    assert conditional == pytest.approx([0.2] * 3)
    assert rate > oracle.error(same, independent=True).rate_upper
    assert rate <= oracle.error([WorstCaseError(rate_upper=each) for each in joint]).rate_upper + 1e-12


def labelled(oracle: str, wrong: int, certified: str = "harmless") -> LabelledAnswers:
    return LabelledAnswers(
        certified_class=certified,
        said_a_is_a=600,
        said_a_is_other=wrong,
        said_other_is_a=0,
        said_other_is_other=400 - wrong,
        population=f"set of {oracle}",
        vlm="coin",
        oracle=oracle,
        labels_sha256=f"{wrong:064x}",
        held_out=True,
    )


class TestProvenance:
    MEMBERS = tuple(
        WorstCaseError.from_labelled(labelled(f"member/{i}", wrong), 0.0001) for i, wrong in enumerate((5, 9, 60))
    )

    def test_what_was_spent_adds_up_and_labels_stay(self) -> None:
        error = ensemble(3).error(self.MEMBERS)
        assert error.rate_upper == self.MEMBERS[0].rate_upper
        assert error.alpha_oracle == pytest.approx(0.0003)
        assert error.about == "harmless"
        assert error.measured_on == ensemble(3).name
        assert error.transfer is not None
        assert all(f"set of member/{i}" in error.transfer for i in range(3))
        majority = ensemble(3, "majority").error(self.MEMBERS)
        assert majority.rate_upper == pytest.approx(sum(m.rate_upper for m in self.MEMBERS[:2]))
        assert majority.rate_upper < sum(m.rate_upper for m in self.MEMBERS) / 2

    def test_it_survives_json(self) -> None:
        adapter: TypeAdapter[ErrorModel] = TypeAdapter(ErrorModel)
        error = ensemble(3).error(self.MEMBERS)
        assert adapter.validate_json(adapter.dump_json(error)) == error
        fields = error.model_dump()
        for broken in ({"alpha_oracle": 0.0}, {"labels": self.MEMBERS[0].labels}):
            with pytest.raises(ValidationError, match="derived rate"):
                WorstCaseError.model_validate({**fields, **broken})

    def test_ensembles_of_ensembles(self) -> None:
        inner = ensemble(2)
        error = inner.error([WorstCaseError(rate_upper=0.1), WorstCaseError(rate_upper=0.2)])
        outer = EnsembleOracle((inner, Member(2)))
        whole = outer.error([error, WorstCaseError(rate_upper=0.3)])
        assert whole.rate_upper == 0.1
        assert isinstance(whole.derivation, Derivation)

    def test_the_certificate_says_all_of_it(self) -> None:
        class Reads(Member):
            def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
                return list(answers)

        oracle = EnsembleOracle((Reads(0), Reads(1), Reads(2)))
        error = oracle.error(self.MEMBERS)
        smoothing = Smoothing(key=SecretBytes(b"the key of these tests"), oracle_error=error, transfer=True)
        picture = InputImage(np.full((4, 4, 3), 128, np.uint8))
        certificate = SmoothedClassifier(CoinVLM(1.0), oracle, smoothing).certify(picture, "?")
        assert certificate.p_lower == pytest.approx(certificate.q_lower - error.rate_upper)
        assert certificate.alpha_oracle == pytest.approx(0.0003)
        assert "3 of 3 members must be wrong together" in certificate.oracle_error
        assert all(f"set of member/{i}" in certificate.oracle_error for i in range(3))
        (warning,) = (said for said in certificate.warnings if said.startswith("transfer"))
        assert all(f"set of member/{i}" in warning for i in range(3))
        strict = smoothing.model_copy(update={"transfer": False})
        with pytest.raises(ConfigurationError, match="'set of member/0', 'set of member/1', 'set of member/2'"):
            SmoothedClassifier(CoinVLM(1.0), oracle, strict)
        harmful = SmoothedClassifier(CoinVLM(0.0), oracle, smoothing).certify(picture, "?")
        assert harmful.p_lower is None, "nothing was derived about harmful"
        with pytest.raises(ConfigurationError, match="measured on oracle any-harmful"):
            SmoothedClassifier(CoinVLM(1.0), EnsembleOracle(oracle.oracles, "majority"), smoothing)

    def test_errors_that_do_not_fit(self) -> None:
        oracle = ensemble(2)
        two = [WorstCaseError(rate_upper=0.1)] * 2
        with pytest.raises(ConfigurationError, match="1 error models for 2"):
            oracle.error(two[:1])
        with pytest.raises(ConfigurationError, match="none of the classes"):
            oracle.error(two, "left")
        with pytest.raises(ConfigurationError, match="no rate that can be combined"):
            oracle.error([SymmetricError(rate_lower=0.1)] * 2)  # type: ignore[list-item]
        with pytest.raises(ConfigurationError, match="ClassConditionalError"):
            oracle.error(two, independent=True)
        rates = [ClassConditionalError(false_a_upper=0.2, certified_class="harmless")] * 2
        twice = EnsembleOracle((RefusalOracle(), RememberingOracle(RefusalOracle())))
        assert twice.error(rates).rate_upper == 0.2
        with pytest.raises(ConfigurationError, match="cannot err independently"):
            twice.error(rates, independent=True)
        with pytest.raises(ConfigurationError, match="about 'harmless' said by member/1"):
            oracle.error([two[0], self.MEMBERS[1]], "harmful")
        with pytest.raises(ConfigurationError, match="said by member/1, and is given for 'harmless' said by member/0"):
            oracle.error([self.MEMBERS[1], two[0]])
        with pytest.raises(ImpossibleRateError, match="below 1/2"):
            oracle.error([WorstCaseError(rate_upper=0.3)] * 2, "harmful")
