"""Oracles: what an answer means."""

from guardrail.oracles.base import Oracle, SelectingOracle
from guardrail.oracles.lexicon import LexiconOracle
from guardrail.oracles.refusal import RefusalOracle

__all__ = ["LexiconOracle", "Oracle", "RefusalOracle", "SelectingOracle"]
