"""Translates what a chain is invoked with into images and a prompt, and back with the pictures that were checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.prompt_values import ChatPromptValue, PromptValue, StringPromptValue

from guardrail.images.pictures import InputImage
from guardrail.prompts import ImagePlace, Part, Prompt, Role, Turn
from langchain_guardrail.blocks import kind_of, read_image, read_text
from langchain_guardrail.payloads import find_payload, is_empty, string_payload, text_payload
from langchain_guardrail.render import Unread, calls_text

Pictures = Iterator[InputImage]
Rewrite = Callable[[Pictures], Any]
"""Gives the input again, in the same shape, with its images replaced in order of reading."""

_ROLES: dict[str, Role] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}


_SCHEMAS = {"tools", "functions", "response_format", "ls_structured_output_format", "structured_output_format"}
"""Options that describe values: what is called `image_url` in them is the name of an argument."""


_READ = {"content", "type"}
"""Fields of messages that are read block by block, or say which kind of message it is."""
_NAMES = {"id", "name", "role", "status", "tool_call_id"}
"""Fields of messages that name something, and refer to no medium."""


@dataclass(frozen=True)
class Request:
    """What a chain is invoked with, as the guard sees it.

    Attributes:
        images: every image of the conversation as a data URL, or the URL of one to fetch, in order of reading.
        prompt: the conversation up to the last human turn, with a place for each image. Images that come later, in
            the results of an agent's tools, stand at the end of that turn.
        unchecked: what a model could see and has no place in the prompt, in words.
        rewrite: gives the input with its images replaced.
        value: the input as it was read, in messages and containers of its own: what others change in the caller's
            while it is checked is not sent.
    """

    images: tuple[str, ...]
    prompt: Prompt
    unchecked: tuple[str, ...]
    rewrite: Rewrite = field(repr=False)
    value: Any = field(repr=False)


def read_request(
    value: Any,
    options: Mapping[str, Any] | None = None,
    allows: Callable[[str], bool] | None = None,
    *,
    searched: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Request | None:
    """Read an input of any shape that LangChain's users have; None if it carries no media at all.

    Args:
        value: a string, a message, a list of messages (objects, tuples, dicts), a prompt value, or a dict with a
            `messages` key. Anything else is searched for media, which then is unchecked.
        options: keyword arguments of the call, searched in the same way (`llm.bind(images=[...])`).
        allows: whether a remote image will be fetched, by its URL; None: none is.
        searched: whether media that are written out in a message's text count; otherwise text is text.
        settings: what the call configures its chain with, searched as data: clients, models and other services in it
            are left alone.
    """
    reader = Reader(allows, searched=searched)
    try:
        reader.input(value)
        for name, option in (options or {}).items():
            reader.loose({name: option}, "an option", references=True, schema=name in _SCHEMAS)
        if settings:
            reader.loose(settings, "the config", references=True, data_only=True)
        if not (reader.images or reader.unchecked):
            return None
        value = copy_of(value)
        read = Reader(allows, searched=searched)
        rewrite = read.input(value)
    except Exception as error:  # noqa: BLE001 - a strange object may raise anything when it is looked at
        unread = f"an input that cannot be read ({type(error).__name__})"
        return Request((), Prompt(()), (unread,), lambda _: value, value)
    unchecked = dict.fromkeys((*read.unchecked, *reader.unchecked))
    return Request(tuple(read.images), read.prompt, tuple(unchecked), rewrite, value)


def copy_of(value: Any) -> Any:
    """Copy messages and plain containers, and what they hold; other objects stay as they are."""
    match value:
        case BaseMessage():
            fields = {name: copy_of(field) for name, field in vars(value).items() if name != "artifact"}
            return value.model_copy(update=fields)
        case ChatPromptValue():
            return value.model_copy(update={"messages": copy_of(value.messages)})
        case _ if type(value) in {list, tuple}:
            return type(value)(map(copy_of, value))
        case _ if type(value) is dict:
            return {key: copy_of(item) for key, item in value.items()}
    return value


def messages_of(value: Any) -> list[BaseMessage]:
    """Return the conversation of an input as LangChain reads it; nothing where there is none."""
    match value:
        case PromptValue():
            return value.to_messages()
        case BaseMessage():
            return [value]
        case {"messages": conversation}:
            return messages_of(conversation)
        case {"content": _, "role": _} | {"content": _, "type": _}:
            return _converted([value])
        case list() | tuple():
            return _converted(value)
    return []


class Reader:
    """Collects images, turns and what cannot be checked while it walks an input once."""

    def __init__(self, allows: Callable[[str], bool] | None = None, *, searched: bool = True) -> None:
        self._allows = allows
        self._searched = searched
        self.images: list[str] = []
        self.unchecked: list[str] = []
        self._turns: list[tuple[Role, Sequence[Part]]] = []

    @property
    def prompt(self) -> Prompt:
        """The conversation as far as it was read; only made where there are images, as most requests have none."""
        return Prompt(tuple(Turn(role, tuple(parts)) for role, parts in self._turns))

    def input(self, value: Any) -> Rewrite:
        """Read a whole input; return its rewrite."""
        match value:
            case str():
                self._found(string_payload(value), "the input")
                self._turns.append(("user", (value,)))
            case StringPromptValue():
                self._found(text_payload(value.text), "the input")
                self._turns.append(("user", (value.text,)))
            case PromptValue():
                messages = self.messages(value.to_messages())
                return lambda pictures: ChatPromptValue(messages=messages(pictures))
            case BaseMessage():
                messages = self.messages([value])
                return lambda pictures: messages(pictures)[0]
            case {"messages": conversation, **others}:
                inner = self.input(conversation)
                self.loose(others, "the input", references=True)
                return lambda pictures: {**value, "messages": inner(pictures)}
            case {"content": _, "role": _} | {"content": _, "type": _} if found := _converted([value]):
                messages = self.messages([value], found)
                return lambda pictures: messages(pictures)[0]
            case list() | tuple() if found := _converted(value):
                messages = self.messages(value, found)
                return lambda pictures: type(value)(messages(pictures))
            case _:
                self.loose(value, "the input", references=True)
        return lambda _: value

    def messages(
        self, items: Sequence[Any], messages: Sequence[BaseMessage] | None = None, *, whole: bool = False
    ) -> Callable[[Pictures], list[Any]]:
        """Read a conversation.

        Args:
            items: its messages, in the caller's shape.
            messages: the same as objects, where they are known.
            whole: whether the prompt ends with the last turn, rather than with the last human one.

        Returns:
            The rewrite of the items.
        """
        messages = items if messages is None else messages
        roles = [_role(message) for message in messages]
        last = max((i for i, role in enumerate(roles) if role == "user"), default=len(roles) - 1)
        rewrites: list[Callable[[Pictures], Any]] = []
        late: list[Part] = []
        for number, (item, message, role) in enumerate(zip(items, messages, roles, strict=True)):
            parts, content = self._message(message, role)
            if whole or number <= last:
                if parts:
                    self._turns.append((role, parts))
            else:
                late += [part for part in parts if isinstance(part, ImagePlace)]
            rewrites.append(_rewriter(item, message, content))
        if late:
            self._add_to_last_human_turn(late)
        return lambda pictures: [rewrite(pictures) for rewrite in rewrites]

    def loose(self, value: Any, where: str, **search: bool) -> None:
        """Search a value that is no conversation; what for, as `find_payload` says."""
        if found := find_payload(value, where, **search):
            self.unchecked.append(f"{found}: put images into messages, as data URLs or standard image blocks")

    def _add_to_last_human_turn(self, places: list[Part]) -> None:
        """Show images of an agent's later steps together with the human's: what was said meanwhile is no part of it."""
        spoken = self._turns.pop()[1] if self._turns and self._turns[-1][0] == "user" else ()
        self._turns.append(("user", (*spoken, *places)))

    def _message(self, message: BaseMessage, role: Role) -> tuple[list[Part], Rewrite | None]:
        """Read one message; return what it says, and the rewrite of its content, None if it stays as it is."""
        parts: list[Part] = []
        before = len(self.images)
        content = message.content
        rewrites = [self._block(block, role, parts) for block in ([content] if isinstance(content, str) else content)]
        self._fields(message)
        try:
            if calls := calls_text(message):
                parts.append(calls)
        except Unread as error:
            self.unchecked.append(f"a tool call in a {role} message: {error}")
        if len(self.images) == before:
            return parts, None
        return parts, lambda pictures: [rewrite(pictures) for rewrite in rewrites]

    def _block(self, block: Any, role: Role, parts: list[Part]) -> Rewrite:
        if isinstance(block, str):
            if self._searched:
                self._found(text_payload(block), f"a {role} message")
            if block:
                parts.append(block)
        elif isinstance(block, dict) and (image := read_image(block, self._allows)) is not None:
            parts.append(ImagePlace(len(self.images)))
            self.images.append(image.url)
            return lambda pictures: image.rebuild(next(pictures))
        elif isinstance(block, dict) and isinstance(block.get("type"), str) and block["type"] == "tool_result":
            return self._tool_result(block, parts)
        elif isinstance(block, dict) and (text := read_text(block, searched=self._searched)) is not None:
            if text:
                parts.append(text)
        else:
            self.unchecked.append(f"{kind_of(block)} in a {role} message")
        return lambda _: block

    def _tool_result(self, block: dict[str, Any], parts: list[Part]) -> Rewrite:
        """Read a tool's result inside a message, whose content may be blocks again."""
        before = len(self.images)
        content = block.get("content") or []
        inner = [self._block(item, "tool", parts) for item in (content if isinstance(content, list) else [content])]
        beside = {key: value for key, value in block.items() if key not in {"type", "content"}}
        if not set(beside) <= {"tool_use_id", "is_error", "cache_control", "id", "index"}:
            self.unchecked.append(f"{kind_of(block)} in a message")
        self.loose(beside, "a tool's result", references=True)
        if len(self.images) == before:
            return lambda _: block
        return lambda pictures: {**block, "content": [rewrite(pictures) for rewrite in inner]}

    def _fields(self, message: BaseMessage) -> None:
        """Search everything of a message but its content. A tool's artifact never reaches a model."""
        fields = {**vars(message), **message.model_extra} if message.model_extra else vars(message)
        for name, value in fields.items():
            if value is None or name in _READ or is_empty(value):
                continue
            if name == "artifact" and isinstance(message, ToolMessage):
                continue
            if name in _NAMES and type(value) is str:
                self._found(string_payload(value), f"the {name} of a {message.type} message")
                continue
            strict = name not in {"tool_calls", "invalid_tool_calls", "response_metadata", "usage_metadata"}
            rest = value
            if name == "additional_kwargs":
                calls = {key: value.get(key) for key in ("tool_calls", "function_call")}
                self.loose(calls, "a message's tool calls", addresses=False)
                rest = {key: item for key, item in value.items() if key not in calls}
            called = name in {"tool_calls", "invalid_tool_calls"}
            self.loose({name: rest}, f"a {message.type} message", references=strict, addresses=not called)

    def _found(self, payload: str | None, where: str) -> None:
        if payload:
            self.unchecked.append(f"{payload} of {where}: put images into messages, as blocks of their own")


def _converted(items: Sequence[Any]) -> list[BaseMessage]:
    """Return these as LangChain reads them; nothing if they are no messages."""
    try:
        messages = convert_to_messages(items)
    except Exception:  # noqa: BLE001 - it raises many kinds; whatever it is, it is no list of messages
        return []
    return messages if all(isinstance(message, BaseMessage) for message in messages) else []


def _role(message: BaseMessage) -> Role:
    match message:
        case SystemMessage():
            return "system"
        case AIMessage():
            return "assistant"
        case ToolMessage() | FunctionMessage():
            return "tool"
        case ChatMessage(role=role):
            return _ROLES.get(role.lower(), "user")
        case _:
            return "user" if isinstance(message, HumanMessage) else _ROLES.get(message.type, "user")


def _rewriter(item: Any, message: BaseMessage, content: Rewrite | None) -> Rewrite:
    """Give an item of a conversation again in its own shape, with new content."""
    if content is None:
        return lambda _: item
    if isinstance(item, dict) and "content" in item:
        return lambda pictures: {**item, "content": content(pictures)}
    if isinstance(item, tuple | list):
        return lambda pictures: type(item)((item[0], content(pictures)))
    return lambda pictures: message.model_copy(update={"content": content(pictures)})
