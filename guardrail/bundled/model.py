"""The bundled model: a small trained LLaVA that reads signs. Real, offline, and no production model.

It exists so that the demo, the tests and attacks run on something real on two CPU cores. `MODEL_CARD.md` beside
this file says what it can do, by measurement.
"""

from __future__ import annotations

from pathlib import Path

from guardrail.models.local.transformers import TransformersVLM

CHECKPOINT = Path(__file__).parent / "checkpoint"


class BundledVLM(TransformersVLM):
    """The bundled model, loaded by the very code that loads any other.

    Args:
        temperature: 0 for greedy decoding; above, sampled.
        batch_size: draws per forward pass.
        max_new_tokens: longest answer; its own answers are shorter than the default.
        device: torch device; None: CUDA where there is one, else the CPU.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.0,
        batch_size: int = 100,
        max_new_tokens: int = 24,
        device: str | None = None,
    ) -> None:
        super().__init__(
            CHECKPOINT,
            device=device,
            dtype="float32",
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            batch_size=batch_size,
        )

    @property
    def name(self) -> str:
        """As for any model, with a prefix that says which this is."""
        return f"bundled-{super().name}"
