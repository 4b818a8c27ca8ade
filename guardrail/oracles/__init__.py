"""Oracles: what an answer means."""

from guardrail.oracles.base import Oracle, SelectingOracle
from guardrail.oracles.illegible import IllegibleOracle
from guardrail.oracles.judge import JudgeOracle
from guardrail.oracles.labels import LabelOracle
from guardrail.oracles.lexicon import LexiconOracle
from guardrail.oracles.refusal import RefusalOracle

__all__ = [
    "IllegibleOracle",
    "JudgeOracle",
    "LabelOracle",
    "LexiconOracle",
    "Oracle",
    "RefusalOracle",
    "SelectingOracle",
]
