"""A model's recorded answers, so that several oracles judge the very same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.images.pictures import InputImage
from guardrail.models.base import Answer, Draw, Sizes
from guardrail.prompts import Prompt


@dataclass(frozen=True)
class RecordedVLM:
    """A model of one request that answers draw i with its i-th recorded answer, whatever the prompt."""

    answers: Sequence[Answer]
    """One per draw; they must have been drawn independently."""
    name: str
    """Name of the model that gave them."""
    resolution: tuple[int, int] | None = None
    """Height and width at which the noise was added; None: those of the image."""

    @classmethod
    def of(cls, classifier: SmoothedClassifier, image: InputImage, prompt: str) -> RecordedVLM:
        """Record the answers to all draws of a classifier's budget for one image and prompt; its oracle is not used."""
        draws = classifier.draws(classifier.request(image, prompt), range(classifier.smoothing.samples))
        model = classifier.model
        return cls(model.answer(draws), model.name, model.resolution)

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        """Accept any request."""

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:  # noqa: ARG002
        """Return the recorded answer of each draw; the images are not read."""
        return [self.answers[draw.index] for draw in draws]
