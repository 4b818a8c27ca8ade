"""How alike two answers are: the cosine of their sentence embeddings."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.errors import ConfigurationError, OracleError
from guardrail.models.base import past
from guardrail.oracles.base import TIMED_OUT
from guardrail.oracles.meaning.equivalence import TOO_LONG, Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SentenceEncoder:
    """Sentence embeddings of a model of sentence-transformers, in float32, of length 1.

    Args:
        source: hub id, or folder.
        revision: branch, tag or commit of a hub model; for a folder, a name that stands for its content and saves
            hashing the files.
        device: torch device; None: CUDA where there is one, else the CPU.
        batch_size: texts per forward pass.

    Raises:
        ConfigurationError: sentence-transformers is not installed, or there is no such model.
    """

    def __init__(
        self, source: str | Path, *, revision: str | None = None, device: str | None = None, batch_size: int = 64
    ) -> None:
        from guardrail.models.local.loading import pinned_revision, torchvision_works, why_unloadable

        if isinstance(source, Path) and not source.is_dir():
            raise ConfigurationError(
                f"no folder {source}: give the folder of a sentence-transformers model, or a hub id"
            )
        if batch_size < 1:
            raise ConfigurationError(f"batch_size must be at least 1, got {batch_size}")
        torchvision_works()  # before sentence-transformers imports transformers, which looks for torchvision
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ConfigurationError(
                "sentence embeddings need sentence-transformers: pip install 'certified-guardrail[embeddings]'"
            ) from error
        pinned = None if Path(source).is_dir() else revision
        try:
            self._model = SentenceTransformer(
                str(source),
                revision=pinned,
                device=device,
                trust_remote_code=False,
                model_kwargs={"dtype": "float32"},
            )
        except Exception as error:  # the library raises many kinds; each means the same to the user
            raise ConfigurationError(
                f"cannot load {source!s} as a sentence-transformers model: {why_unloadable(error)}; check the hub "
                "id or folder"
            ) from error
        self.source = str(source)
        self.batch_size = batch_size
        self.name = f"{Path(source).name}@{pinned_revision(source, revision)}"
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str], deadline: float | None = None) -> dict[str, NDArray[np.float32] | str]:
        """Return the embedding of each distinct text, or the label of its failure: `TOO_LONG`, `TIMED_OUT`.

        Args:
            texts: any number.
            deadline: `time.monotonic()` after which no batch is begun; the texts left get `TIMED_OUT`.
        """
        distinct = list(dict.fromkeys(texts))
        embeddings: dict[str, NDArray[np.float32] | str] = {}
        with self._lock:
            fitting = self._fitting(distinct)
            embeddings.update((text, TOO_LONG) for text in distinct if text not in fitting)
            shortest_first = sorted(fitting, key=len)
            for start in range(0, len(shortest_first), self.batch_size):
                batch = shortest_first[start : start + self.batch_size]
                if past(deadline):
                    embeddings.update((text, TIMED_OUT) for text in batch)
                    continue
                vectors = self._model.encode(
                    batch, batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
                )
                embeddings.update(zip(batch, vectors, strict=True))
        return embeddings

    def _fitting(self, texts: Sequence[str]) -> set[str]:
        """Return the texts that the model reads to their end."""
        longest = self._model.max_seq_length
        if longest is None or math.isinf(longest) or not texts:
            return set(texts)
        prompt = self._model.prompts.get(self._model.default_prompt_name or "") or ""  # `encode` puts it before texts
        whole = [prompt + text for text in texts]
        tokens = self._model.tokenizer(whole, truncation=False, padding=False, verbose=False)["input_ids"]
        return {text for text, ids in zip(texts, tokens, strict=True) if len(ids) <= longest}


def similarities(encoder: SentenceEncoder, pairs: Sequence[Pair], deadline: float | None = None) -> list[float | str]:
    """Return each pair's cosine, in [−1, 1] up to rounding, or the label of its failure.

    Raises:
        OracleError: the model gives no finite embeddings.
    """
    import numpy as np

    embeddings = encoder.encode([text for pair in pairs for text in (pair.answer, pair.representative)], deadline)
    cosines: list[float | str] = []
    for pair in pairs:
        left, right = embeddings[pair.answer], embeddings[pair.representative]
        if isinstance(left, str) or isinstance(right, str):
            cosines.append(left if isinstance(left, str) else str(right))
            continue
        cosine = float(np.dot(left, right))
        if not np.isfinite(cosine):
            raise OracleError(f"{encoder.name} gives embeddings that are not finite")
        cosines.append(cosine)
    return cosines
