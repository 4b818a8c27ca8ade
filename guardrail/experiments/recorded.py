"""Answers that a model gave once, for several oracles to judge: they differ in their judgement alone then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.images.pictures import InputImage
from guardrail.models.base import Answer, Draw, Sizes
from guardrail.prompts import Prompt


@dataclass(frozen=True)
class RecordedVLM:
    """Answers the draw with index i by the i-th of its answers, whatever was asked: a model of one request."""

    answers: Sequence[Answer]
    """One per draw; they must have been drawn independently."""
    name: str
    """Name of the model that gave them."""
    resolution: tuple[int, int] | None = None
    """Height and width where its noise was added; None: the image's own."""

    @classmethod
    def of(cls, classifier: SmoothedClassifier, image: InputImage, prompt: str) -> RecordedVLM:
        """Draw all answers of a classifier's budget for one image and prompt; its oracle is not asked."""
        draws = classifier.draws([image], Prompt.of(prompt, 1), range(classifier.smoothing.samples))
        model = classifier.model
        return cls(model.answer(draws), model.name, model.resolution)

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        """Take any request."""

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:  # noqa: ARG002
        """Return the recorded answer of each draw; the images are not looked at."""
        return [self.answers[draw.index] for draw in draws]
