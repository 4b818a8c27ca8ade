"""Signs that the bundled model reads with ease."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guardrail.bundled.signs import draw_sign, sample_sign


def clear_sign(word: str = "tea", size: tuple[int, int] = (512, 512)) -> Image.Image:
    """Draw a word in strong contrast."""
    drawn = sample_sign(np.random.default_rng(1), "held_out", words=[word], contrast=(0.8, 0.8))
    return draw_sign(drawn, size)


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    """The file of a harmless sign."""
    clear_sign().save(tmp_path / "tea.png")
    return tmp_path / "tea.png"
