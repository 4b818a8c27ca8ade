"""The bundled model, its oracles and the world of signs that they know: real, offline, for no production."""

from guardrail.bundled.model import BundledVLM

__all__ = ["BundledVLM"]
