"""A blank answer says nothing: it is a failed draw, unless the model says that a blank is a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from guardrail import Guard, InputImage, SmoothedClassifier, Smoothing, Verdict
from guardrail.models.base import Answer, Draw, ModelTraits
from guardrail.models.scheduling import Scheduler
from guardrail.oracles import EquivalenceOracle, LabelOracle, LexiconOracle
from guardrail.oracles.base import Oracle
from guardrail.visible import is_blank, visible
from tests.kit.synthetic import CoinVLM

PICTURE = InputImage(np.full((2, 2, 3), 128, np.uint8))
SMOOTHING = Smoothing(samples=40, key=b"the key of these tests")
ORACLE = LexiconOracle({"harmful": ["bad"]}, otherwise="harmless")
BLANKS = ["", " ", "\n\t ", "\u200b", "\ufeff\u2060 \u00ad", "\u2800", "\u3164\u00a0", "\x00", "\u034f", "\U000e0041"]


@dataclass
class Says(CoinVLM):
    """Always says this; `batch_size` makes a guard pack its draws."""

    text: str = ""
    batch_size: int | None = None

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        return [Answer(self.text if draw.sampling_seed < self.p * 2**63 else "fine", tokens=3) for draw in draws]


class Reads(Says):
    """A model to which a picture without text is a finding."""

    blank_is_finding = True


@pytest.mark.parametrize("text", BLANKS, ids=ascii)
def test_a_blank_answer_is_a_failed_draw(text: str) -> None:
    """It was certified harmless, 17 draws of 17, and allowed."""
    certificate = SmoothedClassifier(Says(1.0, text=text), ORACLE, SMOOTHING).certify(PICTURE, "?", 0.1)
    assert certificate.verdict is Verdict.ABSTAIN
    assert certificate.failures == {"blank": certificate.draws}
    assert certificate.counts == {"failed": certificate.draws, "harmful": 0, "harmless": 0}
    assert certificate.tokens == 3 * certificate.draws
    assert certificate.failed_by == "model"
    with Guard(Says(1.0, text=text, batch_size=8), ORACLE, smoothing=SMOOTHING) as guard:
        assert guard.check(PICTURE, "?").blocked


@pytest.mark.parametrize("text", [".", "0", "***", "a\u200b", "\u00e9", "😀", "\u2588", "﷽"], ids=ascii)
def test_what_can_be_seen_is_no_blank(text: str) -> None:
    assert not is_blank(text)
    assert len(visible(f" {text} ")) == 1 or text == "***"
    certificate = SmoothedClassifier(Says(1.0, text=text), ORACLE, SMOOTHING).certify(PICTURE, "?", 0.1)
    assert certificate.certified_class == "harmless"


def test_blanks_count_against_the_class_that_is_certified() -> None:
    certificate = SmoothedClassifier(Says(0.3, text=" "), ORACLE, SMOOTHING).certify(PICTURE, "?")
    assert 0 < certificate.failures["blank"] == certificate.counts["failed"] < certificate.draws
    assert any("blank" in warning for warning in certificate.warnings)


@pytest.mark.parametrize("oracle", [LabelOracle({"": "no text", "fine": "harmless"}), ORACLE], ids=["named", "judged"])
def test_to_a_model_that_says_so_a_blank_is_a_finding_that_the_oracle_names(oracle: Oracle) -> None:
    fixed = SMOOTHING.model_copy(update={"class_rule": "fixed", "certified_class": oracle.classify([""], [])[0]})
    for model in (Reads(1.0), Scheduler(Reads(1.0, batch_size=8))):
        assert ModelTraits.of(model).blank_is_finding
        certificate = SmoothedClassifier(model, oracle, fixed).certify(PICTURE, "?", 0.1)
        assert certificate.certified_class == oracle.classify([""], [])[0]
        assert certificate.failures == {}


def test_replicas_read_blanks_as_findings_only_where_all_do() -> None:
    with Scheduler([Reads(1.0, batch_size=8), Says(1.0, batch_size=8)]) as mixed:
        certificate = SmoothedClassifier(mixed, ORACLE, SMOOTHING).certify(PICTURE, "?", 0.1)
    assert certificate.failures["blank"] == certificate.draws


def test_no_class_is_found_in_blanks() -> None:
    class Same:
        name = "same"

        def compare(self, pairs: Sequence[object], deadline: float | None = None) -> list[str]:
            return ["equivalent"] * len(pairs)

    classifier = SmoothedClassifier(Says(0.8, text="\u200b "), EquivalenceOracle(Same()), SMOOTHING)
    certificate = classifier.certify(PICTURE, "?", 0.1)
    assert certificate.representative == "fine"
    assert certificate.certified_class is None
