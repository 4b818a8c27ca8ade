"""Vision-language models that can be smoothed."""

from guardrail.models.base import Answer, Draw, VisionLanguageModel
from guardrail.models.bundled import BundledVLM
from guardrail.models.chat import ChatModelVLM
from guardrail.models.denoised import DenoisedVLM
from guardrail.models.transformers import TransformersVLM

__all__ = [
    "Answer",
    "BundledVLM",
    "ChatModelVLM",
    "DenoisedVLM",
    "Draw",
    "TransformersVLM",
    "VisionLanguageModel",
]
