"""Every form of media in every position is checked or fails closed, never passed; checked pictures go on canonical."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompt_values import ImagePromptValue, StringPromptValue
from langchain_core.runnables import RunnableLambda
from PIL import Image

import langchain_guardrail
from guardrail import Guard, ImageLimits, InputImage, Policy, Reason
from guardrail.errors import ConfigurationError
from langchain_guardrail import GuardedChatModel, GuardedRunnable, get_decision
from tests.kit.chains import Brightness, Chat, content, file, image_block, picture, pixels, url
from tests.kit.forms import CHECKED, GREEN, POSITIONS, RED, REMOTE, TEXT, UNCHECKED, document

Make = Callable[..., Guard]


class Door:
    """A guarded chain, and what reached it."""

    def __init__(self, guard: Guard) -> None:
        self.given: list[Any] = []
        self.chain = GuardedRunnable(RunnableLambda(self._run), guard)

    def _run(self, value: Any) -> AIMessage:
        self.given.append(value)
        return AIMessage("ok")

    def reasons(self, value: Any, **options: Any) -> tuple[Reason, ...]:
        decision = get_decision(self.chain.invoke(value, **options))
        assert decision is not None, "not even looked at"
        assert decision.blocked == (not self.given)
        return decision.reasons


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("form", CHECKED)
def test_checked_forms(guard: Guard, form: str, position: str) -> None:
    place, build = POSITIONS[position], CHECKED[form]
    harmful, harmless = Door(guard), Door(guard)
    text = {"type": "text", "text": "?"}
    blocked = harmful.reasons(place([text, build(RED)]))
    passed = harmless.reasons(place([text, build(GREEN)]))
    assert blocked == (Reason.CERTIFIED_HARMFUL,)
    assert passed == ()
    (given,) = harmless.given
    (message,) = (m for m in given if isinstance(m.content, list))
    assert message.content[0] == text
    canonical = base64.b64encode(InputImage.load(picture()).png()).decode()
    assert message.content[1] == build(canonical) or "of another type" in form or form.endswith("url")
    assert GREEN not in repr(given)
    assert canonical in repr(given)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("form", UNCHECKED)
def test_unchecked_forms_fail_closed(guard: Guard, vlm: Brightness, form: str, position: str) -> None:
    try:
        value = POSITIONS[position](["Look.", UNCHECKED[form]])
    except ValueError:
        pytest.skip("LangChain takes no such message")
    assert Door(guard).reasons(value) == (Reason.UNCHECKED_MEDIA,)
    beside = Door(guard).reasons([HumanMessage([image_block()]), *value])
    assert beside == (Reason.UNCHECKED_MEDIA,)
    assert vlm.prompts == []


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("form", TEXT)
def test_forms_of_text_pass_untouched(guard: Guard, form: str, position: str) -> None:
    try:
        value = POSITIONS[position](["Look.", TEXT[form]])
    except ValueError:
        pytest.skip("LangChain takes no such message")
    door = Door(guard)
    assert door.chain.invoke(value).content == "ok"
    assert door.given[0] is value


def test_the_table_of_forms_is_current() -> None:
    """Made by `python -m tests.kit.forms`."""
    assert (Path(langchain_guardrail.__file__).parent / "CONTENT.md").read_text() == document()


@pytest.mark.parametrize(
    "value",
    [
        url(),
        GREEN,
        RED,
        "\n".join(GREEN[i : i + 76] for i in range(0, len(GREEN), 76)),
        " ".join(GREEN),
        "A" * 300,
        f"Look: {url()}",
        StringPromptValue(text=url()),
        ImagePromptValue(image_url={"url": url(), "detail": "auto"}),
        b"\x89PNG",
        bytearray(b"x"),
        picture(),
        np.zeros((4, 4, 3)),
        io.BytesIO(b"x"),
        {"image_data": GREEN},
        {"image_data": "A" * 300},
        {"x": b"1"},
        {"x": picture()},
        {"x": [{"y": (1, {"z": memoryview(b"1")})}]},
        {"x": {b"1"}},
        {"image_url": REMOTE},
        {"anything": REMOTE},
        {"my_picture": "https://example.com/42"},
        {"history": [HumanMessage(content())], "question": "?"},
        {"history": [HumanMessage([UNCHECKED["remote"]])]},
        {"messages": [HumanMessage("Hi")], "image": GREEN},
        {"messages": [HumanMessage(content())], "image": GREEN},
        {"messages": "Hi", "extra": HumanMessage(content())},
        {url(): "x"},
        [image_block()],
        [b"1"],
        [HumanMessage("Hi"), picture()],
        [{"role": "user", "content": "Hi", "images": [GREEN]}],
        HumanMessage("Hi", additional_kwargs={"images": [GREEN]}),
        HumanMessage("Hi", additional_kwargs={"file_id": "file-1"}),
        HumanMessage("Hi", additional_kwargs={"x": "A" * 300}),
        HumanMessage("Hi", picture=b"1"),
        HumanMessage("Hi", name=url()),
        AIMessage("Hi", tool_calls=[{"name": "f", "args": {"x": url()}, "id": "1"}]),
        AIMessage("Hi", response_metadata={"x": b"1"}),
        AIMessage("Hi", additional_kwargs={"audio": {"id": "1"}}),
        HumanMessage(url()),
        iter(["x"]),
        {"x": (c for c in "x")},
    ],
    ids=lambda value: f"{type(value).__name__} {str(value)[:30]!r}".split(" at 0x")[0],  # the same in every process
)
def test_media_without_a_place_fail_closed(guard: Guard, vlm: Brightness, value: Any) -> None:
    assert Door(guard).reasons(value) == (Reason.UNCHECKED_MEDIA,)
    assert vlm.prompts == []


def test_media_in_text_can_be_text(guard: Guard) -> None:
    chat = Chat()
    model = GuardedChatModel(chat, guard, media_in_text="ignore")
    for text in (url("red"), f"![x]({url('red')})", RED):
        for value in ([HumanMessage(text)], [HumanMessage([{"type": "text", "text": text}, "?"])]):
            assert get_decision(model.invoke(value)) is None
    still = [{"type": "text", "text": "x", "image": RED}, {"type": "thinking", "thinking": "x", "signature": url()}]
    for block in (*still, {"type": "tool_use", "id": "1", "name": "f", "input": {"x": url()}}):
        decision = get_decision(model.invoke([HumanMessage([block])]))
        assert decision is not None
        assert decision.reasons == (Reason.UNCHECKED_MEDIA,)
    with pytest.raises(ConfigurationError, match="media_in_text"):
        GuardedChatModel(chat, guard, media_in_text="pass")  # type: ignore[arg-type]


def test_what_raises_when_it_is_looked_at_fails_closed(guard: Guard) -> None:
    class Trap(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("boo")

    assert Door(guard).reasons({"x": Trap(y=1)}) == (Reason.UNCHECKED_MEDIA,)
    assert Door(guard).reasons([HumanMessage("Hi", x=np.zeros(3))]) == (Reason.UNCHECKED_MEDIA,)


def test_options_are_searched_too(guard: Guard) -> None:
    for options in ({"images": [GREEN]}, {"x": b"1"}, {"x": url()}):
        assert Door(guard).reasons("Hi", **options) == (Reason.UNCHECKED_MEDIA,)
    door = Door(guard)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"image": {}}}}}]
    chain = GuardedRunnable(RunnableLambda(lambda _, **kwargs: sorted(kwargs)), guard)
    assert chain.bind(stop=["x"]).invoke("Hi") is not None
    assert door.chain.bind(tools=tools).get_name()


@pytest.mark.parametrize(
    "options",
    [
        {"previous_response_id": "resp_123"},
        {"previous_response_id": "0b6e7c1e-4f6c-4f0e-9d6b-2f4b7c1f0a11"},
        {"conversation": "conv_123"},
        {"extra_body": {"conversation": {"id": "conv_123"}}},
        {"cached_content": "cachedContents/123"},
        {"cached_content": "projects/p/locations/l/cachedContents/123"},
    ],
)
def test_conversations_that_a_provider_keeps_fail_closed(guard: Guard, options: dict[str, Any]) -> None:
    assert Door(guard).reasons("Hi", **options) == (Reason.UNCHECKED_MEDIA,)
    model = GuardedChatModel(Chat(), guard)
    assert get_decision(model.invoke("Hi", **options)).reasons == (Reason.UNCHECKED_MEDIA,)  # type: ignore[union-attr]


def test_conversations_that_are_values_pass(guard: Guard) -> None:
    model = GuardedChatModel(Chat(), guard)
    for options in ({"previous_response_id": None}, {"conversation": "Hi"}, {"conversation": [{"content": "Hi"}]}):
        assert get_decision(model.invoke("Hi", **options)) is None


def test_a_reason_names_no_payload(guard: Guard) -> None:
    answer = GuardedRunnable(Chat(), guard).invoke([HumanMessage(["?", UNCHECKED["google media"]])])
    (detail,) = get_decision(answer).details  # type: ignore[union-attr]
    assert "'media'" in detail
    assert GREEN[:40] not in detail


@pytest.mark.parametrize(
    ("images", "limits", "reason"),
    [
        (["AAAA"], {}, Reason.UNREADABLE_IMAGE),
        (["%%%"], {}, Reason.UNREADABLE_IMAGE),
        ([""], {}, Reason.UNREADABLE_IMAGE),
        ([base64.b64encode(b"%PDF-1.7 x").decode()], {}, Reason.UNREADABLE_IMAGE),
        ([GREEN[: len(GREEN) // 2]], {}, Reason.UNREADABLE_IMAGE),
        ([GREEN], {"max_pixels": 10}, Reason.IMAGE_TOO_LARGE),
        ([GREEN], {"max_bytes": 10}, Reason.IMAGE_TOO_LARGE),
        ([GREEN] * 3, {"max_count": 2}, Reason.TOO_MANY_IMAGES),
    ],
)
def test_malformed_images_are_blocks_with_their_reason(
    make_guard: Make, images: list[str], limits: dict[str, int], reason: Reason
) -> None:
    guard = make_guard(limits=ImageLimits(**limits))
    blocks = [{"type": "image", "base64": image, "mime_type": "image/png"} for image in images]
    assert Door(guard).reasons([HumanMessage(blocks)]) == (reason,)


def tricks() -> dict[str, bytes]:
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = Image.new("RGBA", (20, 12), (0, 128, 0, 255))
    clear.paste((255, 0, 0, 0), (0, 0, 10, 12))
    frames = [picture("green"), picture("red")]
    return {
        "orientation": file(picture(size=(12, 20)), "JPEG", exif=turned, quality=95),
        "alpha": file(clear),
        "second frame": file(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "palette": file(picture().convert("P")),
        "profile": file(picture(), icc_profile=b"\0" * 200),
        "trailing": file(picture()) + b"\xff\xd8\xff" + file(picture("red"), "JPEG"),
    }


@pytest.mark.parametrize("trick", tricks())
def test_what_was_checked_is_what_is_sent(guard: Guard, trick: str) -> None:
    data = tricks()[trick]
    door = Door(guard)
    block = {"type": "image_url", "image_url": {"url": f"data:image/x;base64,{base64.b64encode(data).decode()}"}}
    assert door.reasons([HumanMessage([block])]) == ()
    sent = door.given[0][0].content[0]["image_url"]["url"]
    np.testing.assert_array_equal(pixels(sent), InputImage.load(data).pixels)


def test_original_is_forwarded_on_request(make_guard: Make) -> None:
    door = Door(make_guard(Policy(forward="original")))
    value = [HumanMessage(content())]
    assert door.reasons(value) == ()
    assert door.given[0] == value


def test_the_callers_messages_stay_as_they_are(guard: Guard) -> None:
    value = [HumanMessage(content()), {"role": "user", "content": content()}]
    before = [value[0].model_copy(deep=True), {"role": "user", "content": content()}]  # type: ignore[union-attr]
    assert Door(guard).reasons(value) == ()
    assert value == before


@pytest.mark.parametrize("forward", ["canonical", "original"])
@pytest.mark.parametrize("door", [GuardedRunnable, GuardedChatModel])
def test_what_others_change_while_it_is_checked_is_not_sent(
    make_guard: Callable[..., Guard], door: Any, forward: str, vlm: Brightness, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, shown = HumanMessage("Hi"), HumanMessage(content("green"))
    conversation = [text, shown]
    answer = vlm.answer

    def change(*args: Any) -> Any:
        text.content = shown.content = content("red")
        shown.additional_kwargs["image"] = url("red")
        conversation.append(HumanMessage(content("red")))
        return answer(*args)

    monkeypatch.setattr(vlm, "answer", change)
    chat = Chat()
    guarded = door(chat, make_guard(Policy.model_validate({"forward": forward})))
    assert guarded.invoke(conversation).text == chat.says
    (sent,) = chat.seen
    assert (len(sent), sent[0].content, sent[1].additional_kwargs) == (2, "Hi", {})
    np.testing.assert_array_equal(pixels(sent[1].content[1]["image_url"]["url"]), np.asarray(picture("green")))


def test_paths_in_texts_are_not_read(guard: Guard, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(file(picture("red")))
    value = [HumanMessage([{"type": "image_url", "image_url": {"url": str(path)}}])]
    assert Door(guard).reasons(value) == (Reason.UNCHECKED_MEDIA,)
