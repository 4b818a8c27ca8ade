"""The bundled model, its oracles and the world of signs that they know: offline, and not for production."""

from guardrail.bundled.model import BundledVLM

__all__ = ["BundledVLM"]
