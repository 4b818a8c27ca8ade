"""The conformance check finds what an oracle is not, and passes those of the house."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from guardrail.bundled.oracle import action_oracle, bundled_oracle
from guardrail.errors import OracleError
from guardrail.oracles import (
    ActionOracle,
    EnsembleOracle,
    EquivalenceOracle,
    IllegibleOracle,
    LabelOracle,
    LexiconOracle,
    Oracle,
    RefusalOracle,
    RememberingOracle,
    SelectingOracle,
    check_oracle,
)
from guardrail.prompts import Prompt
from tests.kit.meanings import RuleComparison, first_word
from tests.kit.synthetic import Coin

DOUBTFUL = [f"answer {i}" for i in range(12)]


class Own:
    """An oracle of one's own: harmful where there is a digit above 4."""

    name = "own"
    classes: tuple[str, ...] = ("harmless", "harmful")
    deterministic: object = True

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        return ["harmful" if any(c in "56789" for c in answer) else "harmless" for answer in answers]


class Counting(Own):
    """Says another class at every second call."""

    calls = 0

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        self.calls += 1
        return [self.classes[self.calls % 2] for _ in answers]


class Padding(Own):
    """Reads what is as long as the longest of its batch, as a model that pads may."""

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        longest = max(map(len, answers))
        return ["harmless" if len(answer) == longest else "harmful" for answer in answers]


class Placed(Own):
    """Has a favourite place in the batch."""

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        return ["harmful" if i == 3 else "harmless" for i, _ in enumerate(answers)]


class Stateful(Own):
    """Says harmful of what it has seen before."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        labels = ["harmful" if answer in self.seen else "harmless" for answer in answers]
        self.seen.update(answers)
        return labels


class Careless(Coin):
    """Takes seeds, and throws other coins."""

    def classify_draws(self, answers: Sequence[str], prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[str]:
        return [self.classes[random.random() < 0.5] for _ in answers]


@pytest.mark.parametrize(
    "oracle",
    [
        bundled_oracle(),
        action_oracle(),
        RefusalOracle(),
        IllegibleOracle(RefusalOracle()),
        LexiconOracle({"harmful": ["alarm"]}),
        ActionOracle(["left", "stop"]),
        EnsembleOracle((RefusalOracle(), LexiconOracle({"harmful": ["alarm"]}))),
        RememberingOracle(RefusalOracle()),
        EquivalenceOracle(RuleComparison(first_word)),
        RememberingOracle(Coin(0.5), key=b"the key of these tests"),
    ],
    ids=lambda oracle: oracle.name.split("/")[0],
)
def test_functions_of_the_house_are_functions(oracle: Oracle | SelectingOracle) -> None:
    found = check_oracle(oracle)
    found.require()
    assert (found.repeats, found.problems, found.traits.deterministic) == (True, (), True)
    assert (found.judged, len(found.labels)) == (60, 10)
    assert set(found.differing) == {"twice", "alone", "shuffled", "beside itself"}


@pytest.mark.parametrize(
    ("oracle", "ways"),
    [
        (Counting(), {"twice"}),
        (Padding(), {"alone"}),
        (Placed(), {"shuffled", "alone"}),
        (Stateful(), {"twice", "alone", "shuffled", "beside itself"}),
    ],
)
def test_one_that_says_it_is_a_function_and_is_none(oracle: Own, ways: set[str]) -> None:
    found = check_oracle(oracle, [*DOUBTFUL, "longer than all others"])
    assert ways <= {way for way, count in found.differing.items() if count}
    with pytest.raises(OracleError, match=r"own does not conform: it says deterministic = True.*of 13 answers"):
        found.require()


@pytest.mark.parametrize("said", [None, False])
def test_one_that_says_it_samples_may(said: bool | None) -> None:
    oracle = Counting()
    oracle.deterministic = said
    found = check_oracle(oracle)
    found.require()
    assert not found.repeats


def test_by_seeds_it_must_say_the_same_again() -> None:
    found = check_oracle(Coin(0.5))
    found.require()
    assert found.repeats
    assert len(set(check_oracle(Coin(0.5), [str(i) for i in range(40)]).labels)) == 2
    with pytest.raises(OracleError, match="by the same seeds some of 12 answers"):
        check_oracle(Careless(0.5), DOUBTFUL).require()


class TestProblems:
    def test_a_name_that_does_not_hold_still(self) -> None:
        class Nameless(Own):
            calls = 0

            @property
            def name(self) -> str:  # type: ignore[override]
                self.calls += 1
                return f"own {self.calls}"

        with pytest.raises(OracleError, match="its name changed"):
            check_oracle(Nameless()).require()

    @pytest.mark.parametrize("said", ["yes", 1, Own.classify])
    def test_what_is_no_answer_to_whether_it_is_a_function(self, said: object) -> None:
        oracle = Own()
        oracle.deterministic = said
        with pytest.raises(OracleError, match="must be True, False, or left out"):
            check_oracle(oracle).require()

    @pytest.mark.parametrize("classes", [("harmless", "harmless", "harmful"), ("harmless", "harmful", "failed")])
    def test_classes_that_are_none(self, classes: tuple[str, ...]) -> None:
        oracle = Own()
        oracle.classes = classes
        with pytest.raises(OracleError, match="its classes are"):
            check_oracle(oracle).require()

    def test_one_that_cannot_judge(self) -> None:
        with pytest.raises(OracleError, match=r"no judgement succeeded: failed \(10\)"):
            check_oracle(LabelOracle()).require()
        check_oracle(LabelOracle(), ["safe", "unsafe"]).require()

    def test_what_breaks_its_protocol_is_raised_at_once(self) -> None:
        class Short(Own):
            def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
                return super().classify(answers, prompts)[:1]

        with pytest.raises(OracleError, match="1 labels for 10 answers"):
            check_oracle(Short())
        with pytest.raises(ValueError, match="two different answers"):
            check_oracle(Own(), ["one", "one"])


def test_failures_that_differ_in_their_reasons_are_one_class() -> None:
    class Late(Own):
        calls = 0

        def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
            self.calls += 1
            return [f"failed: {self.calls}" if a == DOUBTFUL[0] else "harmless" for a in answers]

    assert check_oracle(Late(), DOUBTFUL).repeats
