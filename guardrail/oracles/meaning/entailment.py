"""Equivalence of answers by entailment in both directions."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigurationError
from guardrail.models.base import past
from guardrail.oracles.base import FAILED, TIMED_OUT
from guardrail.oracles.meaning.equivalence import DIFFERENT, EQUIVALENT, TOO_LONG, Pair

if TYPE_CHECKING:
    import torch

NOT_FINITE = f"{FAILED}: scores are not finite"


class EntailmentComparison:
    """Says `equivalent` where each of two answers entails the other (Kuhn et al. 2023, semantic uncertainty).

    The model is any sequence classifier of transformers for natural language inference, such as those trained on MNLI.
    A pair that is longer, both answers together, than the model reads fails (`TOO_LONG`).

    Args:
        source: hub id, or folder.
        threshold: least probability of entailment, needed in both directions, in [1/2, 1): so entailment is the most
            probable label.
        entailment: the model's label for entailment in its configuration's `label2id`; case does not matter.
        revision: branch, tag or commit of a hub model; for a folder, a name that stands for its content.
        device: torch device; None: CUDA where there is one, else the CPU.
        batch_size: pairs per forward pass.

    Raises:
        ConfigurationError: no such model, weights missing, no such label, an impossible threshold.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        threshold: float = 0.5,
        entailment: str = "entailment",
        revision: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        import torch

        from guardrail.models.local.loading import pinned_revision

        if not 0.5 <= threshold < 1.0 or batch_size < 1:
            raise ConfigurationError(
                f"threshold must be in [0.5, 1) and batch_size at least 1, got {threshold} and {batch_size}"
            )
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._model, self._tokenizer = _load(source, revision, self._device)
        self._entailed = _index_of(entailment, self._model.config.label2id, source)
        limits = (self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", None))
        self._longest = min(limit for limit in limits if limit)
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self.threshold = threshold
        self.name = f"mutual entailment by {Path(source).name}@{pinned_revision(source, revision)} >= {threshold:.10g}"

    def compare(self, pairs: Sequence[Pair], deadline: float | None = None) -> list[str]:
        """Return one label per pair; the question is not read. Backward is computed only where forward holds."""
        labels = self._entails([(pair.answer, pair.representative) for pair in pairs], deadline)
        forward = [i for i, label in enumerate(labels) if label == EQUIVALENT]
        backward = self._entails([(pairs[i].representative, pairs[i].answer) for i in forward], deadline)
        for i, label in zip(forward, backward, strict=True):
            labels[i] = label
        return labels

    def _entails(self, texts: Sequence[tuple[str, str]], deadline: float | None) -> list[str]:
        """Return `EQUIVALENT` for each (premise, hypothesis) of which the premise entails the hypothesis."""
        labels = [TOO_LONG] * len(texts)
        with self._lock:
            fitting = self._fitting(texts)
            for start in range(0, len(fitting), self._batch_size):
                batch = fitting[start : start + self._batch_size]
                found = [TIMED_OUT] * len(batch) if past(deadline) else self._forward([texts[i] for i in batch])
                for i, label in zip(batch, found, strict=True):
                    labels[i] = label
        return labels

    def _forward(self, texts: Sequence[tuple[str, str]]) -> list[str]:
        import torch

        premises, hypotheses = zip(*texts, strict=True)
        inputs = self._tokenizer(list(premises), list(hypotheses), padding=True, truncation=False, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(**inputs.to(self._device)).logits.float()
        scores = torch.softmax(logits, dim=-1)[:, self._entailed].tolist()
        return [self._label(p) for p in scores]

    def _label(self, p: float) -> str:
        if not math.isfinite(p):
            return NOT_FINITE
        return EQUIVALENT if p >= self.threshold else DIFFERENT

    def _fitting(self, texts: Sequence[tuple[str, str]]) -> list[int]:
        """Return the indices of the pairs that the model reads to their end, the shortest first."""
        if not texts:
            return []
        premises, hypotheses = zip(*texts, strict=True)
        tokens = self._tokenizer(list(premises), list(hypotheses), truncation=False, verbose=False)["input_ids"]
        lengths = {i: len(ids) for i, ids in enumerate(tokens) if len(ids) <= self._longest}
        return sorted(lengths, key=lambda i: lengths[i])


def _index_of(entailment: str, label2id: dict[str, int], source: str | Path) -> int:
    """Return the index of the label of just this name: 'not_entailment' is another label."""
    found = [index for label, index in label2id.items() if label.casefold() == entailment.casefold()]
    if len(found) != 1:
        raise ConfigurationError(
            f"{source!s} has labels {sorted(label2id)}, and none of them is {entailment!r}: say by entailment= which "
            "one means that the first text entails the second"
        )
    return int(found[0])


def _load(source: str | Path, revision: str | None, device: torch.device) -> tuple[Any, Any]:
    """Return classifier and tokenizer.

    Raises:
        ConfigurationError: no such model; one without its classifier's weights, which would be random.
    """
    from guardrail.models.local.loading import torchvision_works, why_unloadable

    local = Path(source).is_dir()
    if isinstance(source, Path) and not local:
        raise ConfigurationError(f"no folder {source}: give the folder of an entailment model, or a hub id")
    torchvision_works()  # before transformers looks for torchvision
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    options: dict[str, Any] = {"trust_remote_code": False} | ({} if local else {"revision": revision})
    try:
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            source, dtype="float32", output_loading_info=True, **options
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(source, **options)
    except Exception as error:  # the library raises many kinds; each means the same to the user
        raise ConfigurationError(
            f"cannot load {source!s} as a sequence classifier: {why_unloadable(error)}; check the hub id, or give a "
            "folder"
        ) from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ConfigurationError(
            f"{source!s} lacks {len(missing)} of its weights, {missing[0]} among them, which would be random: choose a "
            "model that was trained on natural language inference"
        )
    return model.to(device).eval(), tokenizer
