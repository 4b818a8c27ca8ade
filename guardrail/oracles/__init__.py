"""Oracles: what an answer means."""

from guardrail.oracles.actions import ActionOracle
from guardrail.oracles.base import Oracle, SelectingOracle
from guardrail.oracles.ensemble import EnsembleOracle
from guardrail.oracles.illegible import IllegibleOracle
from guardrail.oracles.judge import JudgeOracle
from guardrail.oracles.labels import LabelOracle
from guardrail.oracles.lexicon import LexiconOracle
from guardrail.oracles.refusal import RefusalOracle
from guardrail.oracles.remembering import RememberingOracle
from guardrail.oracles.safeguard import SafeguardOracle

__all__ = [
    "ActionOracle",
    "EnsembleOracle",
    "IllegibleOracle",
    "JudgeOracle",
    "LabelOracle",
    "LexiconOracle",
    "Oracle",
    "RefusalOracle",
    "RememberingOracle",
    "SafeguardOracle",
    "SelectingOracle",
]
