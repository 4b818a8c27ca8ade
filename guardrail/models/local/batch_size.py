"""The number of rows of a forward pass: from the free memory, and halved for good when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from guardrail.errors import ModelError
from guardrail.models.base import past
from guardrail.models.local.loading import out_of_memory

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

_USABLE = 0.8
"""Share of the free memory that batches may take; the rest is for fragmentation and other programs."""


class BatchSize:
    """The batch size of one model on one device.

    Args:
        most: largest number of rows.
    """

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError(f"a batch holds at least 1 row, got {most}")
        self.most = most

    def rows(self, model: Any, length: int) -> int:  # noqa: ANN401
        """Return how many rows of `length` tokens, answer included, to run at once: at least 1.

        Only CUDA tells its free memory; elsewhere the number is `most`.
        """
        if model.device.type != "cuda":
            return self.most
        free, _ = torch.cuda.mem_get_info(model.device)
        kept = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
        return max(1, min(self.most, int(_USABLE * (free + kept) / row_bytes(model, length))))

    def halve(self, failed: int) -> bool:
        """Allow half of `failed` rows from now on. Return False if that is none."""
        if failed <= 1:
            return False
        self.most = failed // 2
        logger.warning("out of memory at %d rows a batch: going on with %d", failed, self.most)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def over(
        self,
        model: Any,  # noqa: ANN401
        items: Sequence[Item],
        length: int,
        run: Callable[[Sequence[Item]], list[Result]],
        deadline: float | None = None,
    ) -> list[Result]:
        """Run items in batches, one row each, and return their results, in order.

        Args:
            model: the model that runs them.
            items: any number.
            length: tokens of the longest row, answer included.
            run: runs one batch.
            deadline: `time.monotonic()` after which no batch is begun: the results are then fewer than the items.

        Raises:
            ModelError: memory does not suffice for a single row.
        """
        results: list[Result] = []
        while len(results) < len(items) and not past(deadline):
            rows = self.rows(model, length)
            batch = items[len(results) : len(results) + rows]
            try:
                results += run(batch)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if not self.halve(len(batch)):
                    raise ModelError(
                        f"not enough memory on {model.device} for a single row; use a smaller model or dtype"
                    ) from error
        return results


def row_bytes(model: Any, length: int) -> int:  # noqa: ANN401
    """Return about how much memory a row of `length` tokens takes.

    It counts keys and values twice (in the growing cache, and in a graph's buffers) and a layer's widest activations.
    """
    config = model.config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    cached = 2 * config.num_hidden_layers * (getattr(config, "num_key_value_heads", None) or heads) * size
    active = 6 * config.hidden_size + 4 * (getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    bytes_each: int = torch.finfo(model.dtype).bits // 8
    total: int = length * bytes_each * (2 * cached + active)
    return total
