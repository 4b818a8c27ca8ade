"""Fits the weights of `RefusalOracle` to the examples beside this file: `python -m guardrail.oracles.refusal_training`.

The examples were written for this project: answers in the styles of many models, and answers that look like refusals
and are none. Needs scikit-learn.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from guardrail.oracles.refusal import WEIGHTS, RefusalOracle
from guardrail.oracles.refusal_features import FEATURES, compiled, features

EXAMPLES = "refusal_examples.txt"
INVERSE_PENALTY = 1.0
_EXAMPLE = re.compile(r"^### (refusal|answer) \| (\w+)\n(.*?)\n(?=### |\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """An answer, and whether it refuses."""

    text: str
    refuses: bool
    style: str
    """Manner or language."""


def examples() -> list[Example]:
    """Return the examples."""
    text = (files("guardrail.oracles") / EXAMPLES).read_text(encoding="utf-8")
    return [Example(said, kind == "refusal", style) for kind, style, said in _EXAMPLE.findall(text)]


def fit(known: list[Example]) -> dict[str, Any]:
    """Return bias and weights of a logistic regression on the examples."""
    from sklearn.linear_model import LogisticRegression

    patterns, opening = compiled(), RefusalOracle.opening
    numbers = [features(example.text, patterns, opening) for example in known]
    regression = LogisticRegression(C=INVERSE_PENALTY, max_iter=10_000, tol=1e-6)
    regression.fit(numbers, [example.refuses for example in known])
    weights = [round(float(weight), 3) for weight in regression.coef_[0]]
    return {"bias": round(float(regression.intercept_[0]), 3), "weights": dict(zip(FEATURES, weights, strict=True))}


if __name__ == "__main__":
    Path(__file__).with_name(WEIGHTS).write_text(json.dumps(fit(examples()), indent=1) + "\n", encoding="utf-8")
