"""Vision-language models that can be smoothed."""

from guardrail.models.base import Answer, Draw, VisionLanguageModel
from guardrail.models.bundled import BundledVLM
from guardrail.models.transformers import TransformersVLM

__all__ = ["Answer", "BundledVLM", "Draw", "TransformersVLM", "VisionLanguageModel"]
