"""Fits the weights of `RefusalOracle` to the examples beside this file: `python -m guardrail.oracles.refusal.training`.

The examples were written for this project: refusals in the styles of many models, and answers that look like refusals
and are none. It needs scikit-learn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from guardrail.oracles.refusal.features import FEATURES, KINDS, compiled, read
from guardrail.oracles.refusal.oracle import WEIGHTS, RefusalOracle

EXAMPLES = "examples.txt"
INVERSE_PENALTY = 1.0
_EXAMPLE = re.compile(r"^### (refusal|answer) \| (\w+)\n(.*?)\n(?=### |\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """An answer, and whether it refuses."""

    text: str
    refuses: bool
    style: str
    """Style or language of the answer."""


def examples() -> list[Example]:
    """Return the examples."""
    text = (files("guardrail.oracles.refusal") / EXAMPLES).read_text(encoding="utf-8")
    return [Example(answer, kind == "refusal", style) for kind, style, answer in _EXAMPLE.findall(text)]


def numbers(known: Sequence[Example]) -> tuple[list[list[float]], list[bool]]:
    """Return the features of each example that can be read, and whether it refuses."""
    patterns = compiled(KINDS)
    readings = [(read(example.text, patterns, RefusalOracle.opening), example.refuses) for example in known]
    kept = [(reading.numbers(), refuses) for reading, refuses in readings if reading is not None]
    return [row for row, _ in kept], [refuses for _, refuses in kept]


def fit(read: Sequence[Sequence[float]], refuses: Sequence[bool]) -> dict[str, Any]:
    """Return bias and weights of a logistic regression of `refuses` on the features."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    regression = LogisticRegression(C=INVERSE_PENALTY, max_iter=10_000, tol=1e-6)
    regression.fit(read, refuses)
    weights = [round(float(weight), 3) for weight in regression.coef_[0]]
    return {"bias": round(float(regression.intercept_[0]), 3), "weights": dict(zip(FEATURES, weights, strict=True))}


if __name__ == "__main__":
    FITTED = fit(*numbers(examples()))
    Path(__file__).with_name(WEIGHTS).write_text(json.dumps(FITTED, indent=1) + "\n", encoding="utf-8")
