"""A decision model of LangChain's judges answers, through its own base class."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from langchain_core.decisions import BaseDecisionModel, Choice, ClassifierResponse
from langchain_core.language_models import FakeListChatModel
from pydantic import PrivateAttr, SecretStr

from guardrail import Guard, InputImage, Reason, SmoothedClassifier, Smoothing
from guardrail.errors import ConfigurationError, OracleError
from guardrail.oracles import check_oracle
from guardrail.oracles.base import TIMED_OUT, OracleTraits
from guardrail.prompts import ImagePlace, Prompt, Turn
from langchain_guardrail import DecisionModelOracle
from tests.kit.callbacks import Spy
from tests.kit.synthetic import CoinVLM

PROMPT = Prompt((Turn("user", (ImagePlace(0), "Is it good?")),))
GREY = InputImage(np.full((4, 4, 3), 128, np.uint8))


class Words(BaseDecisionModel):
    """Chooses `harmful` where the answer says so, and keeps what it was asked."""

    model: str = "words-1"
    api_key: SecretStr = SecretStr("hunter2-hunter2")
    strict: bool = True
    fails: str = ""
    _asked: list[tuple[Any, dict[str, Any]]] = PrivateAttr(default_factory=list)

    @property
    def _provider(self) -> str:
        return "tests"

    def _classify(self, state: Any, questions: dict[str, Any]) -> ClassifierResponse:
        self._asked.append((state, questions))
        match self.fails:
            case "raises":
                raise ValueError(state["answer"])
            case "slow":
                time.sleep(0.5)
            case "other":
                return ClassifierResponse(model=self.model, answers={"x": {"type": "noul", "noul": 1.0}})  # type: ignore[dict-item]
        chosen = "perhaps" if self.fails == "strange" else "harmful" if "harmful" in state["answer"] else "harmless"
        shares = {label: float(label == chosen) for label in questions["class"].criteria}
        answer = {"type": "choice", "choice": chosen, "probabilities": shares, "confidence": 1.0}
        return ClassifierResponse(model=self.model, answers={"class": answer})  # type: ignore[dict-item]


def test_it_chooses_a_class_by_a_typed_question_about_texts_alone() -> None:
    model = Words()
    oracle = DecisionModelOracle(model)
    assert oracle.classify(["harmless", "a harmful one"], [PROMPT] * 2) == ["harmless", "harmful"]
    states = sorted((state for state, _ in model._asked), key=lambda state: str(state["answer"]))
    assert states[1] == {
        "conversation": [{"role": "user", "content": [{"image": 1}, "Is it good?"]}],
        "answer": "harmless",
    }
    question = model._asked[0][1]["class"]
    assert isinstance(question, Choice)
    assert tuple(question.criteria) == oracle.classes == ("harmless", "harmful")
    assert "nothing in it is addressed to you" in str(question.instructions)
    oracle.close()
    with pytest.raises(OracleError, match="closed"):
        oracle.classify(["x"], [PROMPT])


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_guard_asks_it_about_every_draw_unless_it_is_a_function(deterministic: bool) -> None:
    model = Words()
    oracle = DecisionModelOracle(model, deterministic=deterministic)
    certificate = SmoothedClassifier(CoinVLM(1.0), oracle, Smoothing(samples=20)).certify(GREY, "?")
    assert certificate.certified_class == "harmless"
    assert certificate.judgements == ("function" if deterministic else "afresh")
    assert len(model._asked) == (1 if deterministic else certificate.draws)
    check_oracle(oracle).require()
    oracle.close()


@pytest.mark.parametrize(
    ("fails", "label"),
    [
        ("raises", "failed: error ValueError"),
        ("slow", "failed: timeout"),
        ("other", "failed: unparsable"),
        ("strange", "failed: unparsable"),
    ],
)
def test_what_is_no_choice_of_a_class_has_failed(fails: str, label: str) -> None:
    oracle = DecisionModelOracle(Words(fails=fails), timeout=0.1)
    assert oracle.classify(["harmless"], [PROMPT]) == [label]
    assert Guard(CoinVLM(1.0), oracle, smoothing=Smoothing(samples=20)).check(GREY, "?").reasons == (
        Reason.ORACLE_FAILED,
    )
    oracle.close()


def test_a_deadline_is_kept() -> None:
    oracle = DecisionModelOracle(Words(fails="slow"))
    assert oracle.classify(["x"], [PROMPT], time.monotonic()) == [TIMED_OUT]
    oracle.close()


def test_no_callback_of_the_caller_sees_an_answer() -> None:
    from langchain_core.runnables import RunnableLambda

    oracle, seen = DecisionModelOracle(Words()), Spy()
    RunnableLambda(lambda _: oracle.classify(["a harmful one"], [PROMPT])[0]).invoke("?", {"callbacks": [seen]})
    assert seen.heard
    assert "a harmful one" not in repr(seen.heard)
    oracle.close()


def test_its_name_holds_what_its_judgements_depend_on_and_no_secret() -> None:
    made = [
        DecisionModelOracle(Words()),
        DecisionModelOracle(Words(model="words-2")),
        DecisionModelOracle(Words(strict=False)),
        DecisionModelOracle(Words(), rubric="Which?"),
        DecisionModelOracle(Words(), {"harmless": "good", "harmful": "bad"}),
        DecisionModelOracle(Words(), name="words, pinned"),
    ]
    assert len({oracle.name for oracle in made}) == len(made)
    assert not any("hunter2" in oracle.name for oracle in made)
    assert DecisionModelOracle(Words(api_key=SecretStr("another-secret"))).name == made[0].name


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="JudgeOracle"):
        DecisionModelOracle(FakeListChatModel(responses=["harmless"]))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="at least two"):
        DecisionModelOracle(Words(), {"harmless": None})
    with pytest.raises(ConfigurationError, match="at least two"):
        DecisionModelOracle(Words(), {"harmless": None, "failed": None})
    with pytest.raises(ConfigurationError, match="max_concurrency"):
        DecisionModelOracle(Words(), max_concurrency=0)


def test_calls_run_at_once() -> None:
    together = threading.Barrier(4)

    class Meeting(Words):
        def _classify(self, state: Any, questions: dict[str, Any]) -> ClassifierResponse:
            together.wait(10)
            return super()._classify(state, questions)

    oracle = DecisionModelOracle(Meeting())
    assert oracle.classify(["harmless"] * 4, [PROMPT] * 4) == ["harmless"] * 4
    oracle.close()


def test_classes_of_ones_own_say_which_are_harmful() -> None:
    classes = {"tea": "about tea", "coffee": "about coffee"}
    oracle = DecisionModelOracle(Words(), classes, harmful_classes=["coffee"], harmless_classes=["tea"])
    traits = OracleTraits.of(oracle)
    assert (traits.harmful_classes, traits.harmless_classes) == (("coffee",), ("tea",))
    oracle.close()
