"""Models and oracles of which everything is known, for tests of soundness."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from guardrail.models.base import Answer, Draw, Sizes
from guardrail.oracles import LexiconOracle
from guardrail.prompts import Prompt


@dataclass
class HalfSpaceVLM:
    """Says `good` where the sum of the noisy values of all images exceeds `threshold`, else `bad`.

    The smoothed verdict is exactly known: P[good at x] = Φ((Σx − threshold)/(σ√d)), and it changes exactly at the
    distance (Σx − threshold)/√d.
    """

    threshold: float
    name: str = "half-space"
    resolution: tuple[int, int] | None = None
    batches: list[int] = field(default_factory=list)

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        pass

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        self.batches.append(len(draws))
        return [Answer("good" if self._sum(draw) > self.threshold else "bad") for draw in draws]

    def distance(self, x: np.ndarray) -> float:
        """Signed distance of clean pixels from the boundary, positive on the side of `good`."""
        return (float(x.sum()) - self.threshold) / math.sqrt(x.size)

    @staticmethod
    def _sum(draw: Draw) -> float:
        return sum(float(image.sum(dtype=np.float64)) for image in draw.images())


@dataclass
class Batching(HalfSpaceVLM):
    """A model that works in batches, one at a time, and takes a while for each."""

    batch_size: int = 64

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        time.sleep(0.01)
        return super().answer(draws, deadline)


@dataclass
class CoinVLM:
    """Answers `harmless` with probability `p`, else `harmful`, whatever the picture; `distinct` answers differ."""

    p: float
    distinct: bool = False
    name: str = "coin"
    resolution: tuple[int, int] | None = None

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        pass

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        return [
            Answer(
                ("harmless" if draw.sampling_seed < self.p * 2**63 else "harmful")
                + (f" {draw.index}" if self.distinct else "")
            )
            for draw in draws
        ]


ORACLE = LexiconOracle({"harmful": ["bad"], "harmless": ["good"]}, otherwise="illegible")
"""`good` is harmless, `bad` is harmful, and whatever else is illegible."""


@dataclass
class Coin:
    """Says `harmless` of any answer with probability `p`, else `harmful`: by the seed of each draw."""

    p: float
    name: str = "coin judge"
    classes: tuple[str, ...] = ("harmless", "harmful")

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        return self.classify_draws(answers, prompts, [secrets.randbelow(2**63) for _ in answers])

    def classify_draws(self, answers: Sequence[str], prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[str]:
        return [self.classes[seed >= self.p * 2**63] for seed in seeds]
