"""Equivalence of answers by sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guardrail.errors import ConfigurationError
from guardrail.measuring.threshold import SimilarityThreshold
from guardrail.oracles.meaning.equivalence import DIFFERENT, EQUIVALENT, Pair
from guardrail.oracles.meaning.similarity import SentenceEncoder, similarities


class EmbeddingComparison:
    """Says `equivalent` where the cosine of two answers' embeddings is at least a threshold.

    Embeddings measure relatedness: 'turn left' and 'turn right' are close. Choose the threshold on labelled pairs of
    your own kind with `guardrail oracle threshold`, which also measures how often it errs. A pair with an answer
    longer than the model reads fails (`TOO_LONG`).

    Args:
        source: a model of sentence-transformers (hub id or folder), or an encoder.
        threshold: a cosine in (0, 1], or the record that `guardrail oracle threshold` wrote for this very model, or
            that record's file.
        revision: branch, tag or commit of a hub model: see `SentenceEncoder`.
        device: torch device.
        batch_size: texts per forward pass.

    Raises:
        ConfigurationError: no such model, an impossible threshold, or one that was chosen for another model.
    """

    deterministic = True
    """In float32 a pair's label does not depend on its company, but for the last digits."""

    def __init__(
        self,
        source: str | Path | SentenceEncoder,
        threshold: float | SimilarityThreshold | str | Path,
        *,
        revision: str | None = None,
        device: str | None = None,
        batch_size: int = 64,
    ) -> None:
        record = SimilarityThreshold.load(threshold) if isinstance(threshold, str | Path) else threshold
        cosine = record.threshold if isinstance(record, SimilarityThreshold) else record
        if not 0.0 < cosine <= 1.0:
            raise ConfigurationError(f"a threshold is a cosine in (0, 1], got {cosine}")
        self.encoder = (
            source
            if isinstance(source, SentenceEncoder)
            else SentenceEncoder(source, revision=revision, device=device, batch_size=batch_size)
        )
        if isinstance(record, SimilarityThreshold):
            record.require_model(self.encoder.name)
        self.threshold = cosine

    @property
    def name(self) -> str:
        """Kind, model with revision or hash, and threshold."""
        return f"cosine of {self.encoder.name} >= {self.threshold:.10g}"

    def similarities(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[float | str]:
        """Return each pair's cosine, in [−1, 1] up to rounding, or the label of its failure."""
        return similarities(self.encoder, pairs, deadline)

    def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
        """Return one label per pair; the question is not read."""
        return [
            cosine if isinstance(cosine, str) else EQUIVALENT if cosine >= self.threshold else DIFFERENT
            for cosine in self.similarities(pairs, deadline)
        ]
