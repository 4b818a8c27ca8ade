"""Chance cannot crash or stall the reading of images. `tests/benchmarks/image_fuzz.py` does the same at length."""

from __future__ import annotations

import time

import pytest

from guardrail import ImageLimits, InputImage
from guardrail.errors import ImageError
from tests.kit.mutations import mutants, seeds
from tests.kit.simulations import simulations

LIMITS = ImageLimits(max_pixels=4_000_000)


@pytest.mark.simulation
def test_every_mutant_is_a_picture_or_one_typed_error() -> None:
    pictures = errors = 0
    for _, data in mutants(simulations(1500), seed=1):
        begun = time.perf_counter()
        try:
            picture = InputImage.load(data, LIMITS)
        except ImageError:
            errors += 1
        else:
            assert picture.width * picture.height <= LIMITS.max_pixels
            pictures += 1
        assert time.perf_counter() - begun < 1.0
    assert pictures > 50
    assert errors > 500


def test_the_seeds_themselves_are_read_or_refused_by_kind() -> None:
    refused = []
    for name, data in seeds().items():
        try:
            InputImage.load(data)
        except ImageError:
            refused.append(name)
    assert refused == ["tiff", "ico"]
