"""Oracles: what an answer means."""

from guardrail.oracles.asking.judge import JudgeOracle
from guardrail.oracles.asking.safeguard import SafeguardOracle
from guardrail.oracles.base import Oracle, RepresentativeOracle, SelectingOracle
from guardrail.oracles.conformance import OracleConformance, check_oracle
from guardrail.oracles.ensemble import EnsembleOracle
from guardrail.oracles.meaning.chat_equivalence import ChatComparison
from guardrail.oracles.meaning.embeddings import EmbeddingComparison
from guardrail.oracles.meaning.entailment import EntailmentComparison
from guardrail.oracles.meaning.equivalence import EquivalenceOracle
from guardrail.oracles.refusal.oracle import RefusalOracle
from guardrail.oracles.remembering import RememberingOracle
from guardrail.oracles.words.actions import ActionOracle
from guardrail.oracles.words.illegible import IllegibleOracle
from guardrail.oracles.words.labels import LabelOracle
from guardrail.oracles.words.lexicon import LexiconOracle

__all__ = [
    "ActionOracle",
    "ChatComparison",
    "EmbeddingComparison",
    "EnsembleOracle",
    "EntailmentComparison",
    "EquivalenceOracle",
    "IllegibleOracle",
    "JudgeOracle",
    "LabelOracle",
    "LexiconOracle",
    "Oracle",
    "OracleConformance",
    "RefusalOracle",
    "RememberingOracle",
    "RepresentativeOracle",
    "SafeguardOracle",
    "SelectingOracle",
    "check_oracle",
]
