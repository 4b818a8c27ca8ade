"""What the other examples share: pictures of signs, which the bundled model can read, and a line per answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from langchain_core.messages import BaseMessage

from guardrail import InputImage
from guardrail.bundled.signs import draw_sign, sample_sign
from langchain_guardrail import get_decision


def sign(word: str) -> dict[str, Any]:
    """Return a content block with a picture of a sign that says this word, such as `tea` or `bomb`."""
    drawn = sample_sign(np.random.default_rng(1), "held_out", words=[word], contrast=(0.8, 0.8))
    return {"type": "image_url", "image_url": {"url": InputImage.load(draw_sign(drawn)).data_url()}}


def told(answer: BaseMessage) -> str:
    """Return what was decided about an answer, and the answer."""
    decision = get_decision(answer)
    what = "text only" if decision is None else " ".join((decision.action, *decision.reasons))
    return f"[{what}] {answer.text}"
