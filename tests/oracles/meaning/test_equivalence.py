"""Equivalence of answers: how the class is found, what is asked of a comparison, and what a failure becomes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from guardrail.errors import ConfigurationError, OracleError
from guardrail.oracles import EquivalenceOracle, IllegibleOracle, LexiconOracle, Oracle, RefusalOracle
from guardrail.oracles.base import TIMED_OUT, RepresentativeOracle, SelectingOracle
from guardrail.oracles.meaning.clustering import stars
from guardrail.oracles.meaning.equivalence import LONGEST_REPRESENTATIVE, Pair, compare
from guardrail.prompts import Prompt
from tests.kit.meanings import RuleComparison, entails, first_word, neighbours

PROMPT = Prompt.of("Which way?", 1)
ANSWERS = ["left a", "right a", "left b", "left a", "up", "right a", "left c"]


def classes(oracle: Oracle, *answers: str) -> list[str]:
    return oracle.classify(answers, [PROMPT] * len(answers))


class Saying:
    """A comparison that says one thing of everything."""

    name = "saying"

    def __init__(self, label: str) -> None:
        self.label = label

    def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
        return [self.label] * len(pairs)


class TestStars:
    def test_they_cover_the_answers_largest_first(self) -> None:
        counts = {"left a": 2, "left b": 1, "right": 2, "up": 1}
        found = stars(counts, list(counts), first_word)
        assert [(s.representative, s.members, s.votes) for s in found] == [
            ("left a", ("left a", "left b"), 3),
            ("right", ("right",), 2),
            ("up", ("up",), 1),
        ]

    def test_a_hundred_answers_each_like_the_next_are_no_cluster(self) -> None:
        counts = {str(i): 1 for i in range(100)}
        found = stars(counts, list(counts), neighbours)
        assert max(s.votes for s in found) == 3
        assert sum(s.votes for s in found) == 100

    def test_of_equal_stars_the_one_said_more_often_then_the_first_in_code_points(self) -> None:
        assert stars({"b x": 1, "b y": 2, "a": 3}, ["b x", "a", "b y"], first_word)[0].representative == "a"
        assert stars({"b x": 1, "b y": 2, "a": 2}, ["b x", "a", "b y"], first_word)[0].representative == "b y"
        assert stars({"b": 1, "a": 1}, ["b", "a"], first_word)[0].representative == "a"


class TestTheRepresentative:
    def test_it_is_the_largest_clusters(self) -> None:
        fixed = EquivalenceOracle(RuleComparison(first_word)).fix(ANSWERS, PROMPT)
        assert fixed.representative == "left a"
        assert fixed.classes == ("equivalent", "different")
        assert classes(fixed, "left z", "right a", "left a") == ["equivalent", "different", "equivalent"]

    def test_it_depends_on_the_answers_and_not_on_their_order(self) -> None:
        rng = random.Random(0)
        tied = ["left a", "left b", "right a", "right b"]
        for answers, expected in ((ANSWERS, "left a"), (tied, "left a")):
            for _ in range(20):
                shuffled = rng.sample(answers, len(answers))
                assert EquivalenceOracle(RuleComparison(first_word)).fix(shuffled, PROMPT).representative == expected
        many = [f"w{i}" for i in range(20)] + ["left a", "left b"] * 2
        for _ in range(20):
            oracle = EquivalenceOracle(RuleComparison(first_word), candidates=2)
            assert oracle.fix(rng.sample(many, len(many)), PROMPT).representative == "left a", "the most frequent"

    def test_comparison_sees_the_answer_first_and_the_representative_second(self) -> None:
        """Every 'red car' is a car, and not every car is a red one. Swapped, 'car' would be equivalent to 'red car'
        and the cluster of 'red car' would be the larger one."""
        comparison = RuleComparison(entails)
        fixed = EquivalenceOracle(comparison).fix(["red car"] * 10 + ["car"] * 5, PROMPT)
        assert fixed.representative == "car"
        comparison.asked.clear()
        assert classes(fixed, "blue car", "bike", "car") == ["equivalent", "different", "equivalent"]
        assert comparison.asked == [("blue car", "car", "Which way?"), ("bike", "car", "Which way?")]
        backwards = EquivalenceOracle(comparison).fixed_on("red car")
        assert classes(backwards, "car", "big red car") == ["different", "equivalent"]

    def test_it_can_be_had_again_by_name(self) -> None:
        oracle = EquivalenceOracle(RuleComparison(first_word))
        fixed = oracle.fix(ANSWERS, PROMPT)
        assert oracle.fixed_on(fixed.representative) == fixed
        names = {oracle.fixed_on(representative).name for representative in ("left a", "left b", None)}
        assert len(names) == 3
        assert all(name.startswith(oracle.name) for name in names)

    def test_the_first_candidate_suffices_where_all_agree(self) -> None:
        comparison = RuleComparison(first_word)
        EquivalenceOracle(comparison).fix([f"left {i}" for i in range(10)], PROMPT)
        assert len(comparison.asked) == 9
        comparison.asked.clear()
        EquivalenceOracle(comparison, candidates=3).fix([f"w{i}" for i in range(10)], PROMPT)
        assert len(comparison.asked) == 27

    def test_it_is_short_enough_for_a_certificate(self) -> None:
        long = "left " + "x" * LONGEST_REPRESENTATIVE
        oracle = EquivalenceOracle(RuleComparison(first_word))
        assert oracle.fix([long, long, "left"], PROMPT).representative == "left"
        with pytest.raises(OracleError, match="max_new_tokens"):
            oracle.fix([long], PROMPT)


class TestFailures:
    def test_no_answer_at_all(self) -> None:
        with pytest.raises(OracleError, match="every selection draw failed"):
            EquivalenceOracle(RuleComparison(first_word)).fix([], PROMPT)

    def test_a_failed_comparison_is_neither_class(self) -> None:
        fixed = EquivalenceOracle(Saying("failed: unparsable")).fixed_on("left")
        assert classes(fixed, "left", "right") == ["equivalent", "failed: unparsable"]

    def test_a_comparison_that_fails_on_every_pair_chooses_nothing(self) -> None:
        with pytest.raises(OracleError, match="failed on all 2 pairs: failed: unparsable"):
            EquivalenceOracle(Saying("failed: unparsable")).fix(["left", "right"], PROMPT)

    def test_one_that_fails_on_the_first_candidate_chooses_another(self) -> None:
        class Short(RuleComparison):
            def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
                said = super().compare(pairs, deadline)
                long = [max(len(pair.answer), len(pair.representative)) > 20 for pair in pairs]
                return ["failed: too long" if late else label for label, late in zip(said, long, strict=True)]

        answers = ["left " + "x" * 30] * 2 + ["left a", "left b", "left c"]
        assert EquivalenceOracle(Short(first_word)).fix(answers, PROMPT).representative == "left a"

    def test_a_deadline_chooses_nothing(self) -> None:
        with pytest.raises(OracleError, match="deadline"):
            EquivalenceOracle(Saying(TIMED_OUT)).fix(["left", "right"], PROMPT)

    @pytest.mark.parametrize("label", ["yes", "", "failed:"])
    def test_whatever_else_a_comparison_says_is_an_error(self, label: str) -> None:
        with pytest.raises(OracleError, match="saying said"):
            classes(EquivalenceOracle(Saying(label)).fixed_on("left"), "right")

    def test_a_comparison_that_breaks(self) -> None:
        class Broken(Saying):
            def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
                raise ZeroDivisionError

        class Short(Saying):
            def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
                return []

        for comparison, complaint in ((Broken(""), "ZeroDivisionError"), (Short(""), "0 labels for 1 pairs")):
            with pytest.raises(OracleError, match=complaint):
                classes(EquivalenceOracle(comparison).fixed_on("left"), "right")

    def test_what_cannot_work_is_refused(self) -> None:
        comparison = RuleComparison(first_word)
        with pytest.raises(ConfigurationError, match="EmbeddingComparison"):
            EquivalenceOracle("MiniLM")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="candidates"):
            EquivalenceOracle(comparison, candidates=0)
        with pytest.raises(ConfigurationError, match="harmless"):
            EquivalenceOracle(comparison, first=LexiconOracle({"good": ["good"]}, otherwise="bad"))


class TestAsking:
    def test_each_pair_once_and_identical_answers_never(self) -> None:
        comparison = RuleComparison(first_word)
        pairs = [Pair("left a", "left b"), Pair("up", "left b"), Pair("left a", "left b"), Pair("left b", "left b")]
        assert compare(comparison, pairs) == ["equivalent", "different", "equivalent", "equivalent"]
        assert comparison.asked == pairs[:2]

    @pytest.mark.parametrize(("deterministic", "asked"), [(True, 1), (None, 2), (False, 4)])
    def test_only_a_function_is_asked_once_per_pair(self, deterministic: bool | None, asked: int) -> None:
        comparison = RuleComparison(first_word)
        comparison.deterministic = deterministic
        fixed = EquivalenceOracle(comparison).fixed_on("left")
        assert fixed.deterministic is deterministic
        assert classes(fixed, "left", "left", "up", "up") == ["equivalent"] * 2 + ["different"] * 2
        assert len(comparison.asked) == asked
        together = EquivalenceOracle(comparison, first=RefusalOracle()).fixed_on("left").deterministic
        assert together is (True if deterministic else None)


class TestFirst:
    """An oracle that is asked before: harm and blindness are no meanings to be stable in."""

    ORACLE = EquivalenceOracle(
        RuleComparison(first_word), first=IllegibleOracle(LexiconOracle({"harmful": ["poison"]}), keeps=("harmful",))
    )

    def test_its_classes_stand(self) -> None:
        fixed = self.ORACLE.fix(["poison it", "poison it", "tea", "The image is too blurry."] * 3 + ["tea b"], PROMPT)
        assert fixed.representative == "tea"
        assert fixed.classes == ("equivalent", "different", "harmful", "illegible")
        said = classes(fixed, "tea c", "tea with poison", "jam", "The image is too blurry.")
        assert said == ["equivalent", "harmful", "different", "illegible"]

    def test_without_an_answer_left_nothing_is_equivalent(self) -> None:
        fixed = self.ORACLE.fix(["poison it", "The image is too blurry."], PROMPT)
        assert fixed.representative is None
        assert classes(fixed, "tea", "poison it") == ["different", "harmful"]

    def test_its_failures_stand_and_its_deadline_chooses_nothing(self) -> None:
        class Late:
            name = "late"
            classes = ("harmless", "harmful")

            def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
                return [TIMED_OUT] * len(answers)

        oracle = EquivalenceOracle(RuleComparison(first_word), first=Late())
        with pytest.raises(OracleError, match="deadline"):
            oracle.fix(["tea"], PROMPT)
        assert classes(oracle.fixed_on("tea"), "tea") == [TIMED_OUT]


def test_names_tell_oracles_apart() -> None:
    comparison, other = RuleComparison(first_word), RuleComparison(neighbours, name="neighbours")
    oracles = (
        EquivalenceOracle(comparison),
        EquivalenceOracle(other),
        EquivalenceOracle(comparison, candidates=3),
        EquivalenceOracle(comparison, first=RefusalOracle()),
    )
    assert len({oracle.name for oracle in oracles}) == 4


def test_it_selects_and_cannot_classify_by_itself() -> None:
    oracle = EquivalenceOracle(RuleComparison(first_word))
    assert isinstance(oracle, SelectingOracle)
    assert isinstance(oracle, RepresentativeOracle)
    assert not isinstance(oracle, Oracle)
    assert isinstance(oracle.fixed_on("left"), Oracle)
