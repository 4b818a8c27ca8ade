"""A certificate in words says no more than the certificate, and of an abstention why."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from guardrail import Certificate, SmoothedClassifier, Smoothing
from guardrail.commands.certificate_text import fields, sentence
from tests.kit.synthetic import ORACLE, HalfSpaceVLM


def certificate(**changes: Any) -> Certificate:
    classifier = SmoothedClassifier(HalfSpaceVLM(0.0), ORACLE, Smoothing(samples=40, sigma=0.5))
    return classifier.certify(Image.new("RGB", (4, 4), "white"), "?").model_copy(update=changes)


def abstention(stop_reason: str = "budget", budget: int = 40, **counts: int) -> Certificate:
    changes: dict[str, Any] = {"verdict": "abstain", "certified_class": None, "radius": 0.0, "budget": budget}
    return certificate(**changes, counts=counts, draws=sum(counts.values()), stop_reason=stop_reason)


def test_radii_are_rounded_down() -> None:
    said = sentence(certificate(radius=0.42999, radius_original_pixels=0.00012399), 0.44)
    assert said == (
        "harmless: no change of the pixels smaller than L2 0.429 at the model's resolution (0.000123 in the original) "
        "changes this verdict (confidence 99.9 %, 40 draws, 0.4 s)"
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (abstention(illegible=39, harmful=1), "39 of 40 draws could not read the picture under noise; a smaller sigma"),
        (abstention(harmful=22, harmless=18), "22 of 40 draws say harmful, which proves no majority; more samples"),
        (abstention(budget=5, harmless=5), "all 5 draws say harmless, too few to prove anything at alpha 0.001"),
        (abstention("futility", harmful=6, harmless=5), "6 of 11 draws say harmful, and the target was out of reach"),
        (abstention("contradicted", harmless=40), "contradict what is assumed about the oracle"),
    ],
    ids=["illegible", "divided", "too few", "futile", "contradicted"],
)
def test_an_abstention_says_why(given: Certificate, why: str) -> None:
    said = sentence(given, 1.0)
    assert said.startswith("abstain: ")
    assert why in said


def test_failed_draws_are_named() -> None:
    given = abstention(failed=40).model_copy(update={"failures": {"filtered": 30, "deadline": 10}})
    assert "40 of 40 draws failed (filtered 30, deadline 10)" in sentence(given, 1.0)


def test_the_table_cuts_nothing_and_has_no_empty_row() -> None:
    given = certificate()
    console = Console(file=StringIO(), width=80)
    console.print(fields(given))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert "…" not in shown
    assert "representative" not in shown
    assert "q_lower" in shown
