"""Equivalence of answers by sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guardrail.errors import ConfigurationError
from guardrail.measuring.threshold import SimilarityThreshold
from guardrail.oracles.meaning.equivalence import DIFFERENT, EQUIVALENT, Pair
from guardrail.oracles.meaning.similarity import SentenceEncoder, similarities


class EmbeddingJudge:
    """Says `equivalent` where the cosine of two answers' embeddings is at least a threshold.

    Embeddings measure relatedness: 'turn left' and 'turn right' are close. Choose the threshold on labelled pairs of
    your own kind, by `guardrail oracle threshold`, which also tells how often it errs. An answer that is longer than
    the model reads is a failed judgement.

    Args:
        source: a model of sentence-transformers (hub id or folder), or an encoder.
        threshold: what `guardrail oracle threshold` wrote for this very model (the record, or its file); or a cosine
            in (0, 1].
        revision: of the model, as for `SentenceEncoder`.
        device: torch device.
        batch_size: texts per forward pass.

    Raises:
        ConfigurationError: no such model, an impossible threshold, or one that was chosen for another model.
    """

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
        """Return each pair's cosine, or the label of the failure to find it."""
        return similarities(self.encoder, pairs, deadline)

    def judge(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
        """Return one label per pair; the question is not read."""
        labels = []
        for cosine in similarities(self.encoder, pairs, deadline):
            if isinstance(cosine, str):
                labels.append(cosine)
            else:
                labels.append(EQUIVALENT if cosine >= self.threshold else DIFFERENT)
        return labels
