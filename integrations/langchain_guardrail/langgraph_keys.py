"""LangGraph's private keys in a config: what a graph hears through them of what runs in its steps, and what it may.

That a graph hears nothing unjudged rests on these names, which any release of LangGraph may change. So they are
compared with its own before a door is built, and a key that is not known here reaches no chain whose answer is not
judged yet.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cache
from importlib import import_module, metadata
from typing import Any

from guardrail.errors import ConfigurationError

TESTED = ">=1.2.11,<1.3"
"""The versions of LangGraph that these keys were tested with; the extra `langchain` has the same bounds."""

_PREFIX = "__pregel_"
_SEND = f"{_PREFIX}send"
"""Writes to the state; as a pair of channel and value."""
_CALL = f"{_PREFIX}call"
"""Runs a task of the graph."""
_RUNTIME = f"{_PREFIX}runtime"
"""Context, store, and the writer of custom events."""
_RESUME = "__resume__"
"""The channel of answers to interrupts."""
_NAMES = {
    "CONFIG_KEY_SEND": _SEND,
    "CONFIG_KEY_CALL": _CALL,
    "CONFIG_KEY_RUNTIME": _RUNTIME,
    "CONFIG_KEY_STREAM": f"{_PREFIX}stream",
    "RESUME": _RESUME,
}
"""What LangGraph's own constants must say."""
_SILENT = {
    *("read", "read_state", "checkpointer", "cache", "resuming", "replay_state", "task_id", "node_finished"),
    *("scratchpad", "runner_submit", "durability", "resume_map", "strict_resume", "node_error"),
}
"""Keys that tell nothing of what a step says. Streams do; so does the observer of attempts, by an error's message."""


@cache
def check() -> None:
    """Compare the keys with the installed LangGraph's own; without LangGraph no graph listens.

    Raises:
        ConfigurationError: they differ.
    """
    try:
        metadata.version("langgraph")
    except metadata.PackageNotFoundError:
        return
    try:
        constants = vars(import_module("langgraph._internal._constants"))
    except ImportError:
        constants = {}
    if differing := [
        f"{name} is {constants.get(name)!r}" for name, key in _NAMES.items() if constants.get(name) != key
    ]:
        raise _unknown(", ".join(differing))


def _unknown(difference: str) -> ConfigurationError:
    return ConfigurationError(
        f"langgraph {metadata.version('langgraph')} is installed, and differs from the tested {TESTED}: {difference}. "
        f"A graph could hear answers before they are judged: install 'langgraph{TESTED}', or a release of "
        "certified-guardrail that was tested with this one"
    )


def in_a_graph(configurable: Mapping[str, Any]) -> bool:
    """Whether a config is that of a graph's step."""
    return any(name.startswith(_PREFIX) for name in configurable)


def settings(configurable: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a chain's parts can read in a config, the graph's `context` included; not a graph's own matters."""
    found = {name: value for name, value in configurable.items() if not name.startswith(_PREFIX)}
    context = getattr(configurable.get(_RUNTIME), "context", None)
    return found if context is None else {**found, "context": context}


def muted(configurable: Mapping[str, Any]) -> dict[str, Any]:
    """Take a graph's ways out: streams of subgraphs and tokens, custom events, writes to the state, and tasks.

    An answer to an interrupt still goes to the state: it is the user's, and the step that waits for it asks for it
    again.

    Raises:
        ConfigurationError: the graph's runtime is not as known.
    """
    silent = {
        name: value
        for name, value in configurable.items()
        if not name.startswith(_PREFIX) or name.removeprefix(_PREFIX) in _SILENT
    }
    if (runtime := configurable.get(_RUNTIME)) is not None:
        try:
            silent[_RUNTIME] = runtime.override(stream_writer=lambda _: None)
        except (AttributeError, TypeError) as error:
            raise _unknown(f"its runtime takes no other stream_writer ({error})") from error
    if _CALL in configurable:
        silent[_CALL] = _in_place
    if (send := configurable.get(_SEND)) is not None:
        silent[_SEND] = lambda writes: send([write for write in writes if write[0] == _RESUME])
    return silent


def _in_place(function: Callable[..., Any], arguments: tuple[Any, Any], **_: Any) -> Any:
    """Run a task of the graph here; as a step of the graph, its result would be streamed and kept."""
    args, kwargs = arguments
    if inspect.iscoroutinefunction(function):
        return asyncio.ensure_future(function(*args, **kwargs))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _done(lambda: function(*args, **kwargs))
    return asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))


def _done(call: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
        future.set_exception(error)
    return future
