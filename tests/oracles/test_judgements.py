"""How the core asks an oracle: deadlines, failures with their reasons, and time spent."""

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import SecretBytes

from guardrail import Guard, InputImage, Policy, SmoothedClassifier, Smoothing
from guardrail.certify.assemble import slow_oracle
from guardrail.certify.certificate import Certificate
from guardrail.errors import OracleError
from guardrail.models.base import Answer, Draw
from guardrail.oracles import IllegibleOracle
from guardrail.oracles.base import FAILED, TIMED_OUT, Judgements
from guardrail.policy import Reason
from guardrail.prompts import Prompt
from tests.kit.synthetic import Batching, CoinVLM

PROMPT = Prompt.of("?", 1)
KEY = SecretBytes(b"the key of these tests")


def picture() -> InputImage:
    return InputImage(np.full((4, 4, 3), 128, np.uint8))


class Slow:
    """Waits before each judgement, and gives up at its deadline."""

    name = "slow"
    classes = ("harmless", "harmful")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:
        labels = []
        for _ in answers:
            late = deadline is not None and time.monotonic() >= deadline
            if not late:
                time.sleep(self.seconds)
            labels.append(TIMED_OUT if late else "harmless")
        return labels


class Unlucky:
    """Cannot parse what it is told of some answers."""

    name = "unlucky"
    classes = ("harmless", "harmful")

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        return ["failed: unparsable" if answer == "harmful" else answer for answer in answers]


def test_failures_are_counted_by_reason() -> None:
    judged = Judgements()
    answers = [Answer("harmless"), Answer("harmful"), Answer("harmful"), Answer.failure("filtered")]
    assert judged.of(Unlucky(), answers, PROMPT) == ["harmless", FAILED, FAILED, FAILED]
    assert judged.failures == {"oracle: unparsable": 2, "filtered": 1}


@pytest.mark.parametrize("label", ["maybe", "failed:", "failed : x", "Failed"])
def test_anything_else_is_an_error(label: str) -> None:
    class Odd(Unlucky):
        def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
            return [label for _ in answers]

    with pytest.raises(OracleError, match="its classes are"):
        Judgements().of(Odd(), [Answer("x")], PROMPT)


def test_an_oracle_that_is_late_surfaces_as_such() -> None:
    """All draws are in at once, the oracle is not: a timeout of the oracle, and an error, whatever abstentions get."""
    guard = Guard(
        CoinVLM(1.0),
        IllegibleOracle(Slow(10.0)),
        smoothing=Smoothing(key=KEY, samples=20),
        policy=Policy(on_abstain="allow"),
    )
    decision = guard.check(picture(), "?", deadline=0.0)
    assert decision.blocked
    assert decision.reasons == (Reason.DEADLINE,)
    certificate = decision.certificate
    assert certificate is not None
    assert certificate.counts["failed"] == certificate.draws


def test_the_oracle_share_of_the_time_is_told() -> None:
    certificate = SmoothedClassifier(CoinVLM(1.0), Slow(0.05), Smoothing(key=KEY, samples=20)).certify(picture(), "?")
    assert certificate.oracle_time_share > 0.5
    (warning,) = (said for said in certificate.warnings if said.startswith("the oracle took"))
    assert f"{certificate.oracle_time_share:.0%} of the time" in warning
    unwarned = tuple(said for said in certificate.warnings if said != warning)
    assert certificate == certificate.model_copy(update={"warnings": unwarned}), (
        "no clock makes two certificates differ"
    )
    assert certificate != certificate.model_copy(update={"warnings": ()})
    assert Certificate.from_json(certificate.to_json()) == certificate
    assert certificate.model_copy(update={"oracle_time_share": 0.0}) == certificate
    assert certificate.model_copy(update={"draws": 0}) != certificate


@pytest.mark.parametrize(
    ("share", "seconds", "warned"), [(0.51, 0.2, True), (0.5, 0.2, False), (0.99, 0.05, False), (1.0, 3.0, True)]
)
def test_more_than_half_of_the_time_is_warned_of_where_it_can_be_noticed(
    share: float, seconds: float, warned: bool
) -> None:
    assert bool(list(slow_oracle(share, seconds))) is warned


def test_while_a_slow_judge_works_the_next_requests_are_drawn() -> None:
    """The judge of the first request waits until the model has drawn for the second."""
    drawn = threading.Event()

    class Waiting(Slow):
        def classify(
            self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None
        ) -> list[str]:
            if prompts[0].text == "first":
                assert drawn.wait(10), "draws wait for the judge"
            return super().classify(answers, prompts, deadline)

    class Telling(Batching):
        def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
            answers = super().answer(draws, deadline)
            if any(draw.prompt.text == "second" for draw in draws):
                drawn.set()
            return answers

    with Guard(Telling(0.0), Waiting(0.0), smoothing=Smoothing(key=KEY, samples=20)) as guard:
        decisions = guard.check_many([(picture(), "first"), (picture(), "second")])
    assert not any(decision.blocked for decision in decisions)


def test_half_of_the_judgements_failed_is_an_error_and_no_abstention() -> None:
    guard = Guard(
        CoinVLM(0.3),
        Unlucky(),
        smoothing=Smoothing(key=KEY, samples=20, method="fixed"),
        policy=Policy(on_abstain="allow"),
    )
    decision = guard.check(picture(), "?")
    assert decision.reasons == (Reason.ORACLE_FAILED,)
    assert decision.blocked


def test_a_late_oracle_leaves_the_last_judged_look() -> None:
    """Judgements that came in time count by their look; those that are late are not counted half."""

    class Late(Slow):
        calls = 0

        def classify(
            self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None
        ) -> list[str]:
            self.calls += 1
            if self.calls > 1:
                assert deadline is not None
                time.sleep(max(0.0, deadline - time.monotonic()))
                return [TIMED_OUT for _ in answers]
            return ["harmless" for _ in answers]

    classifier = SmoothedClassifier(
        CoinVLM(1.0, distinct=True), Late(0.0), Smoothing(key=KEY, samples=40, looks=(20, 40), target_radius=0.45)
    )
    certificate = classifier.certify(picture(), "?", deadline=time.monotonic() + 1.0)
    assert certificate.stop_reason == "deadline"
    assert certificate.looks == (20,)
    assert certificate.draws == 20
    assert certificate.counts["harmless"] == 20
