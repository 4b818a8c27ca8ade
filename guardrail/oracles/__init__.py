"""Oracles: what an answer means."""

from guardrail.oracles.base import Oracle, RepresentativeOracle, SelectingOracle
from guardrail.oracles.chat_equivalence import ChatEquivalenceJudge
from guardrail.oracles.embeddings import EmbeddingJudge
from guardrail.oracles.entailment import EntailmentJudge
from guardrail.oracles.equivalence import EquivalenceOracle
from guardrail.oracles.illegible import IllegibleOracle
from guardrail.oracles.judge import JudgeOracle
from guardrail.oracles.labels import LabelOracle
from guardrail.oracles.lexicon import LexiconOracle
from guardrail.oracles.refusal import RefusalOracle

__all__ = [
    "ChatEquivalenceJudge",
    "EmbeddingJudge",
    "EntailmentJudge",
    "EquivalenceOracle",
    "IllegibleOracle",
    "JudgeOracle",
    "LabelOracle",
    "LexiconOracle",
    "Oracle",
    "RefusalOracle",
    "RepresentativeOracle",
    "SelectingOracle",
]
