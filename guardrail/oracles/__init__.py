"""Oracles: what an answer means."""

from guardrail.oracles.actions import ActionOracle
from guardrail.oracles.base import Oracle, RepresentativeOracle, SelectingOracle
from guardrail.oracles.chat_equivalence import ChatEquivalenceJudge
from guardrail.oracles.embeddings import EmbeddingJudge
from guardrail.oracles.ensemble import EnsembleOracle
from guardrail.oracles.entailment import EntailmentJudge
from guardrail.oracles.equivalence import EquivalenceOracle
from guardrail.oracles.illegible import IllegibleOracle
from guardrail.oracles.judge import JudgeOracle
from guardrail.oracles.labels import LabelOracle
from guardrail.oracles.lexicon import LexiconOracle
from guardrail.oracles.refusal import RefusalOracle
from guardrail.oracles.remembering import RememberingOracle
from guardrail.oracles.safeguard import SafeguardOracle

__all__ = [
    "ActionOracle",
    "ChatEquivalenceJudge",
    "EmbeddingJudge",
    "EnsembleOracle",
    "EntailmentJudge",
    "EquivalenceOracle",
    "IllegibleOracle",
    "JudgeOracle",
    "LabelOracle",
    "LexiconOracle",
    "Oracle",
    "RefusalOracle",
    "RememberingOracle",
    "RepresentativeOracle",
    "SafeguardOracle",
    "SelectingOracle",
]
