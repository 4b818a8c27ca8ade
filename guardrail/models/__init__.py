"""Vision-language models that can be smoothed."""

from typing import TYPE_CHECKING

from guardrail.models.base import Answer, Draw, VisionLanguageModel
from guardrail.models.chat import ChatModelVLM
from guardrail.models.conformance import check_model
from guardrail.models.denoised import DenoisedVLM
from guardrail.models.local.transformers import TransformersVLM

if TYPE_CHECKING:
    from guardrail.bundled.model import BundledVLM

__all__ = [
    "Answer",
    "BundledVLM",
    "ChatModelVLM",
    "DenoisedVLM",
    "Draw",
    "TransformersVLM",
    "VisionLanguageModel",
    "check_model",
]


def __getattr__(name: str) -> object:
    if name == "BundledVLM":  # it is built on this package, so that it cannot be imported while this is
        from guardrail.bundled.model import BundledVLM

        return BundledVLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
