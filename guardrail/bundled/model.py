"""The bundled model: a small trained LLaVA that reads signs, offline; not for production.

It lets the demo, the tests and the attacks run a real model on two CPU cores. `MODEL_CARD.md` beside this file holds
measurements of what it can do.
"""

from __future__ import annotations

from pathlib import Path

from guardrail.models.local.transformers import TransformersVLM

CHECKPOINT = Path(__file__).parent / "checkpoint"
SIGNS_ONLY = "the bundled model reads drawn signs: about any other picture its verdict means nothing"


class BundledVLM(TransformersVLM):
    """The bundled model, loaded by the code that loads any other model.

    Args:
        temperature: 0 for greedy decoding; above, sampled.
        batch_size: draws per forward pass.
        max_new_tokens: longest answer, in tokens; all that it was trained to say are shorter than the default.
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
        """The name as for any model, with the prefix `bundled-`."""
        return f"bundled-{super().name}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What each of its certificates must warn of."""
        return (SIGNS_ONLY, *super().caveats)
