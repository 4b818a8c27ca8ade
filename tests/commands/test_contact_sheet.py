"""The contact sheet: rows can be compared, and say where their votes come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from pydantic import SecretBytes

from guardrail import Guard, InputImage, Smoothing
from guardrail.commands.contact_sheet import Row, draw, save
from guardrail.policy import Decision
from guardrail.stores import MemoryStore
from tests.kit.synthetic import ORACLE, HalfSpaceVLM


def rows() -> list[Row]:
    """An image that takes few draws, the same again, one that takes many, and one that cannot be read."""
    smoothing = Smoothing(samples=100, target_radius=0.1, key=SecretBytes(b"the same at each run"))
    guard = Guard(HalfSpaceVLM(0.0), ORACLE, smoothing=smoothing, store=MemoryStore())
    white, grey = (InputImage.load(Image.new("RGB", (4, 4), (value,) * 3)) for value in (255, 15))
    decisions = [guard.check(image, "?") for image in (white, white, grey)]
    unreadable = Decision(action="block", details=("the file is damaged",))
    images = (white, white, grey, grey)
    return [Row("", image, [], one) for image, one in zip(images, (*decisions, unreadable), strict=True)]


@pytest.mark.slow
def test_votes_share_an_axis_and_a_stored_decision_is_called_that() -> None:
    sheet = rows()
    draws = [row.decision.certificate.draws for row in sheet[:3] if row.decision.certificate]
    assert draws[0] < draws[2], "or the axes would be equal anyway"
    votes = draw(sheet, copies=1).axes[2::3]
    assert {axis.get_xlim() for axis in votes} == {(0.0, draws[2])}
    titles = [axis.get_title("left") for axis in votes]
    assert titles[0] == "ALLOW"
    assert titles[1] == "ALLOW   from the store: no new draw"
    assert votes[3].texts[0].get_text() == "the file is damaged"


@pytest.mark.slow
def test_it_is_saved_as_a_picture(tmp_path: Path) -> None:
    save(rows(), tmp_path / "new" / "sheet.png")
    with Image.open(tmp_path / "new" / "sheet.png") as picture:
        assert picture.width > 1000
