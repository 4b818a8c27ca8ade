"""Judgements remembered across requests, and what may no longer be assumed of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import SecretBytes

from guardrail import InputImage, SmoothedClassifier, Smoothing
from guardrail.errors import ConfigurationError, OracleError
from guardrail.oracles import IllegibleOracle, LexiconOracle, Oracle, RememberingOracle
from guardrail.oracles.base import OracleTraits
from guardrail.prompts import Prompt
from guardrail.statistics import (
    ClassConditionalError,
    ContradictedAssumptionError,
    SymmetricError,
    UnknownSymmetricError,
    WorstCaseError,
)
from tests.kit.synthetic import Coin, CoinVLM

KEY = b"the key of these tests"
GREY = InputImage(np.full((4, 4, 3), 128, np.uint8))
TEA, BOMB = Prompt.of("Tea?", 1), Prompt.of("Bomb?", 1)


class Judge:
    """Says what stands in the answer, as long as nothing else is wanted of it; remembers what it was asked."""

    name = "judge/1"
    classes = ("harmless", "harmful")
    deterministic: bool | None = True

    def __init__(self, *says: str) -> None:
        self.says = list(says)
        self.asked: list[tuple[str, Prompt]] = []
        self.deadlines: list[float | None] = []

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:
        self.asked += zip(answers, prompts, strict=True)
        self.deadlines.append(deadline)
        return [self.says.pop(0) if self.says else answer.split()[0] for answer in answers]


def test_each_prompt_and_answer_is_judged_once() -> None:
    judge = Judge()
    oracle = RememberingOracle(judge)
    assert isinstance(oracle, Oracle)
    answers = ["harmless", "harmful", "harmless", "harmless"]
    assert oracle.classify(answers, [TEA, TEA, BOMB, TEA], 5.0) == answers
    assert judge.asked == [("harmless", TEA), ("harmful", TEA), ("harmless", BOMB)]
    assert judge.deadlines == [5.0]
    assert oracle.classify(["harmful", "harmless b"], [TEA, TEA]) == ["harmful", "harmless"]
    assert len(judge.asked) == 4
    assert oracle.classify([], []) == []
    assert len(oracle) == 4


def test_a_failed_judgement_is_not_remembered() -> None:
    judge = Judge("failed: timeout", "failed", "harmless")
    oracle = RememberingOracle(judge)
    said = [oracle.classify(["x"], [TEA])[0] for _ in range(4)]
    assert said == ["failed: timeout", "failed", "harmless", "harmless"]
    assert len(judge.asked) == 3
    assert len(oracle) == 1


def test_the_least_recently_asked_is_forgotten() -> None:
    judge = Judge()
    oracle = RememberingOracle(judge, capacity=2)
    for answer in ("harmless 1", "harmless 2", "harmless 1", "harmless 3", "harmless 1"):
        oracle.classify([answer], [TEA])
    assert len(judge.asked) == 3
    oracle.classify(["harmless 2"], [TEA])
    assert len(judge.asked) == 4
    assert oracle.classify(["harmless a", "harmful b", "harmless c"], [TEA] * 3) == ["harmless", "harmful", "harmless"]
    assert len(oracle) == 2


def test_it_keeps_no_text() -> None:
    oracle = RememberingOracle(Judge())
    oracle.classify(["harmless " + "secret" * 10_000], [TEA])
    ((key, label),) = oracle._labels.items()
    assert (len(key), label) == (32, "harmless")
    oracle.classify(["harmless \ud800"], [TEA])  # no text in UTF-8, and an answer all the same


def test_threads_agree_on_the_word_that_was_first() -> None:
    """Eight threads judge one answer at once, by a judge that calls itself a function and never says the same twice."""
    together, lock = threading.Barrier(8), threading.Lock()

    class Fickle(Judge):
        def classify(
            self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None
        ) -> list[str]:
            together.wait(10)
            with lock:
                self.asked += zip(answers, prompts, strict=True)
                return [self.classes[len(self.asked) % 2] for _ in answers]

    judge = Fickle()
    oracle = RememberingOracle(judge)
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: oracle.classify(["x"], [TEA])[0], range(8)))
    assert len(judge.asked) == 8
    assert len(set(said)) == 1


def test_the_name_passes_through_where_the_table_changes_no_class() -> None:
    judge = Judge()
    assert RememberingOracle(judge).name == judge.name
    assert OracleTraits.of(RememberingOracle(judge)).judgements == "function"


@pytest.mark.parametrize("said", [None, False])
def test_a_judge_that_is_not_known_to_be_a_function_is_refused(said: bool | None) -> None:
    judge = Judge()
    judge.deterministic = said
    for key in (None, KEY):
        with pytest.raises(ConfigurationError, match="doctor --oracle"):
            RememberingOracle(judge, key=key)
    with pytest.raises(ConfigurationError, match="judge/1 is not known"):
        RememberingOracle(IllegibleOracle(judge))


@pytest.mark.parametrize(
    "error",
    [
        SymmetricError(rate_lower=0.1),
        UnknownSymmetricError(),
        ClassConditionalError(false_a_upper=0.1, certified_class="harmless"),
    ],
)
def test_independent_errors_may_not_be_claimed_of_it(error: SymmetricError) -> None:
    smoothing = Smoothing(samples=20, key=SecretBytes(KEY), oracle_error=error, transfer=True)
    SmoothedClassifier(CoinVLM(1.0), Coin(0.9), smoothing)
    for remembered in (RememberingOracle(Judge()), RememberingOracle(Coin(0.9), key=KEY)):
        with pytest.raises(ContradictedAssumptionError, match="WorstCaseError"):
            SmoothedClassifier(CoinVLM(1.0), remembered, smoothing)


class TestKeptTable:
    def test_it_is_the_same_whatever_was_forgotten_and_wherever_it_runs(self) -> None:
        answers = [f"answer {i}" for i in range(50)]
        small, large = RememberingOracle(Coin(0.5), 3, key=KEY), RememberingOracle(Coin(0.5), key=SecretBytes(KEY))
        table = large.classify(answers, [TEA] * 50)
        assert set(table) == {"harmless", "harmful"}
        for oracle in (large, small, small):
            assert oracle.classify(answers, [TEA] * 50) == table
            assert [oracle.classify([answer], [TEA])[0] for answer in answers[::-1]] == table[::-1]
        assert large.classify_draws(answers, [TEA] * 50, range(50)) == table, "draws do not redraw it"
        assert large.classify(answers, [BOMB] * 50) != table
        assert RememberingOracle(Coin(0.5), key=KEY[::-1]).classify(answers, [TEA] * 50) != table

    def test_its_name_says_which_table_it_is_and_not_the_key(self) -> None:
        names = {RememberingOracle(Coin(0.5), key=key).name for key in (KEY, KEY[::-1])} | {Coin(0.5).name}
        assert len(names) == 3
        assert not any(KEY.decode() in name for name in names)
        with pytest.raises(ConfigurationError, match="16 bytes"):
            RememberingOracle(Coin(0.5), key=b"short")

    def test_what_is_claimed_of_it(self) -> None:
        table = IllegibleOracle(RememberingOracle(Coin(0.5), key=KEY))
        certificate = SmoothedClassifier(CoinVLM(1.0), table, Smoothing(key=SecretBytes(KEY))).certify(GREY, "?")
        assert certificate.judgements == "kept table"
        assert max(certificate.counts.values()) == certificate.draws, "one answer, one entry of the table"
        error = WorstCaseError(rate_upper=0.1)
        with pytest.raises(ConfigurationError, match="transfer"):
            SmoothedClassifier(CoinVLM(1.0), table, Smoothing(oracle_error=error))
        smoothing = Smoothing(oracle_error=error, transfer=True)
        certificate = SmoothedClassifier(CoinVLM(1.0), table, smoothing).certify(GREY, "?")
        assert "transfer: measured on other draws of a judge" in certificate.oracle_error
        assert any("transfer" in warning for warning in certificate.warnings)


def test_a_worst_case_may() -> None:
    smoothing = Smoothing(key=SecretBytes(KEY), oracle_error=WorstCaseError(rate_upper=0.1))
    judge = Judge()
    classifier = SmoothedClassifier(CoinVLM(0.97), RememberingOracle(judge), smoothing)
    first, second = (classifier.certify(GREY, prompt) for prompt in ("?", "?"))
    assert first.p_lower == pytest.approx(first.q_lower - 0.1)
    assert first == second
    assert len(judge.asked) == 2, "one request's table serves the next"


def test_impossible_options_and_errors_of_the_judge() -> None:
    with pytest.raises(ConfigurationError, match="capacity"):
        RememberingOracle(Judge(), capacity=0)
    with pytest.raises(ConfigurationError, match="with classes"):
        RememberingOracle(object())  # type: ignore[arg-type]
    oracle = RememberingOracle(Judge())
    with pytest.raises(OracleError, match="its classes are"):
        oracle.classify(["perhaps"], [TEA])
    assert len(oracle) == 0


def test_it_is_exact_for_a_list_of_words() -> None:
    lexicon = LexiconOracle({"harmful": ["bomb"]})
    answers = ["A bomb.", "Tea.", "A bomb.", ""]
    oracle = RememberingOracle(lexicon)
    for _ in range(2):
        assert oracle.classify(answers, [TEA] * 4) == lexicon.classify(answers, [TEA] * 4)
