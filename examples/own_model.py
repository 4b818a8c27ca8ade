"""A model of your own: any code that answers about noisy copies of an image can be smoothed.

    python examples/own_model.py

This one names the colour of a traffic light. Its answers are actions, so the certificate says: no small change to the
pixels makes the robot go.
"""

from __future__ import annotations

from collections.abc import Sequence

from common import told
from langchain_core.messages import HumanMessage
from PIL import Image

from guardrail import Guard, InputImage, Prompt, Smoothing
from guardrail.models.base import Answer, Draw, Sizes
from guardrail.oracles import LexiconOracle
from langchain_guardrail import GuardedChatModel, LocalChatModel, get_decision


class TrafficLight:
    """Says `stop` where the picture is red rather than green."""

    name = "traffic-light/1"  # all that its answers depend on
    resolution: tuple[int, int] | None = (32, 32)  # where the noise is added

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        """Raise a `PromptError` for a request that it cannot take."""

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:  # noqa: ARG002
        """Answer each draw: its images with its own noise."""
        return [Answer("stop" if _redness(draw) > 0.0 else "go") for draw in draws]


def _redness(draw: Draw) -> float:
    return sum(float(image[..., 0].mean() - image[..., 1].mean()) for image in draw.images())


light = TrafficLight()
guard = Guard(
    light, LexiconOracle({"go": ("go",), "stop": ("stop",)}, otherwise="no action"), smoothing=Smoothing(sigma=0.5)
)
robot = GuardedChatModel(LocalChatModel(vlm=light), guard)

if __name__ == "__main__":
    for colour in ("red", "green"):
        picture = InputImage.load(Image.new("RGB", (64, 64), colour)).data_url()
        answer = robot.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": picture}}, "What next?"])])
        print(f"{colour}: {told(answer)}")
        if (decision := get_decision(answer)) and (certificate := decision.certificate):
            print(f"  certified {certificate.certified_class} within {certificate.radius:.2f}")
