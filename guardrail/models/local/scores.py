"""What is done to the scores of a batch before a token is chosen: for the library's loop, and sampling for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guardrail.certify import noise
from guardrail.models.local import device_noise


class Written:
    """Gives a processor of scores what was written in each row, without the padding, which its batch decides on."""

    def __init__(self, processor: Any, mask: Tensor) -> None:  # noqa: ANN401
        self._processor = processor
        self._starts = mask.int().argmax(1).tolist()

    @classmethod
    def of(cls, model: Any, inputs: dict[str, Tensor]) -> list[Written]:  # noqa: ANN401
        """Return those that the model's settings ask for."""
        from transformers import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

        penalty, ngram = (
            getattr(model.generation_config, name, None) for name in ("repetition_penalty", "no_repeat_ngram_size")
        )
        asked: list[Any] = [RepetitionPenaltyLogitsProcessor(penalty)] if penalty not in {None, 1.0} else []
        asked += [NoRepeatNGramLogitsProcessor(ngram)] if ngram else []
        return [cls(processor, inputs["attention_mask"]) for processor in asked]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores [rows, vocabulary] as the processor changes them for what each row [rows, tokens] holds."""
        rows = enumerate(self._starts)
        return torch.cat([self._processor(input_ids[i : i + 1, start:], scores[i : i + 1]) for i, start in rows])


class Finite:
    """Remembers the rows whose scores were not finite at some token."""

    def __init__(self, prompts: Tensor) -> None:
        self.broken = torch.zeros(len(prompts), 1, dtype=torch.bool, device=prompts.device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        """Return the scores as they are, and mark the rows [rows, 1] that are broken."""
        self.broken |= ~scores.amax(-1, keepdim=True).isfinite()
        return scores


class SeededSampling:
    """Adds Gumbel noise by each row's seed, so that greedy choice samples: the library has no seed per row."""

    def __init__(self, seeds: Sequence[int], temperature: float, prompt_length: int) -> None:
        self._seeds = seeds
        self._temperature = temperature
        self._prompt_length = prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores [rows, vocabulary] over the temperature, and with noise for this step."""
        seeds = torch.tensor(self._seeds, dtype=torch.int64, device=scores.device)
        step = torch.tensor([input_ids.shape[1] - self._prompt_length], device=scores.device)
        return scores / self._temperature + gumbel(seeds, step, scores.shape[-1])


def gumbel(seeds: Tensor, step: Tensor, size: int) -> Tensor:
    """Return each row's Gumbel noise for token number `step`, float32 [rows, size]; on the CPU by numpy."""
    if seeds.device.type != "cpu":
        return device_noise.gumbel(seeds, step, size)
    rows = [noise.gumbel(seed, int(step), size) for seed in seeds.tolist()]
    return torch.from_numpy(np.stack(rows))
