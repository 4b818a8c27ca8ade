"""A chat model on a vision-language model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from guardrail.errors import ImageError, ModelError
from guardrail.models.base import Answer, Draw
from guardrail.prompts import ImagePlace, Turn
from langchain_guardrail import GuardedRunnable, LocalChatModel, get_decision
from tests.kit.chains import DRAWN_HARMFUL, DRAWN_HARMLESS, Brightness, content


def test_answers_about_clean_pictures(vlm: Brightness) -> None:
    chat = LocalChatModel(vlm=vlm)
    assert chat.invoke([HumanMessage(content("green"))]).content == DRAWN_HARMLESS
    answer = asyncio.run(chat.ainvoke([SystemMessage("Be kind."), HumanMessage(content("red"))]))
    assert answer.content == DRAWN_HARMFUL
    assert answer.response_metadata["finish_reason"] == "stop"
    assert vlm.prompts[-1].turns == (Turn("system", ("Be kind.",)), Turn("user", ("What is this?", ImagePlace(0))))
    assert chat.invoke([HumanMessage(content())], stop=[" about"]).content == "a drawn answer"


def test_what_it_cannot_take_is_an_error(vlm: Brightness) -> None:
    chat = LocalChatModel(vlm=vlm)
    with pytest.raises(ImageError, match="audio"):
        chat.invoke([HumanMessage([{"type": "audio", "base64": "x", "mime_type": "audio/wav"}])])


def test_a_failed_answer_is_an_error(vlm: Brightness, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        del deadline
        return [Answer.failure("filtered")] * len(draws)

    monkeypatch.setattr(vlm, "answer", fail)
    with pytest.raises(ModelError, match="filtered"):
        LocalChatModel(vlm=vlm).invoke([HumanMessage(content())])


def test_its_repr_and_parameters_show_the_name_only(vlm: Brightness) -> None:
    chat = LocalChatModel(vlm=vlm)
    assert "Brightness" not in repr(chat)
    assert chat._identifying_params == {"vlm": "brightness@1"}
    assert chat._llm_type == "guardrail-local"


def test_guarded(vlm: Brightness, guard: object) -> None:
    guarded = GuardedRunnable(LocalChatModel(vlm=vlm), guard)  # type: ignore[arg-type]
    assert guarded.invoke([HumanMessage(content())]).content == DRAWN_HARMLESS
    assert get_decision(guarded.invoke([HumanMessage(content("red"))])).blocked  # type: ignore[union-attr]
