"""Real guards on the synthetic model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guardrail import Guard, Policy, Smoothing
from guardrail.oracles import LexiconOracle
from tests.kit.chains import Brightness


@pytest.fixture
def vlm() -> Brightness:
    return Brightness()


@pytest.fixture
def make_guard(vlm: Brightness) -> Callable[..., Guard]:
    def make(policy: Policy | None = None, **options: Any) -> Guard:
        oracle = LexiconOracle({"harmful": ("bomb",)})
        return Guard(vlm, oracle, smoothing=Smoothing(samples=60, sigma=0.25), policy=policy, **options)

    return make


@pytest.fixture
def guard(make_guard: Callable[..., Guard]) -> Guard:
    return make_guard()
