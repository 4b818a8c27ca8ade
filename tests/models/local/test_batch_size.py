"""The batch size follows free memory and what ran out."""

from typing import Any

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from guardrail.bundled.model import CHECKPOINT
from guardrail.models.local.batch_size import BatchSize, row_bytes


class OnCuda:
    """A model that says it is on CUDA."""

    def __init__(self, model: Any) -> None:
        self.config, self.dtype, self.device = model.config, torch.bfloat16, torch.device("cuda")


@pytest.fixture(scope="module")
def model() -> Any:
    return LlavaForConditionalGeneration.from_pretrained(CHECKPOINT)


def test_free_memory_bounds_it_where_it_is_known(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device = OnCuda(model)
    free = 10.5 * row_bytes(device, 100) / 0.8
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    assert BatchSize(64).rows(device, 100) == 10
    assert BatchSize(4).rows(device, 100) == 4
    assert BatchSize(64).rows(device, 10_000) == 1
    assert BatchSize(64).rows(model, 100) == 64, "on the CPU it is what was asked for"


def test_what_ran_out_is_remembered(model: Any) -> None:
    size = BatchSize(16)
    assert size.halve(16)
    assert size.rows(model, 10) == 8
    assert size.halve(3)
    assert size.rows(model, 10) == 1
    assert not size.halve(1)


def test_nothing_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BatchSize(0)
