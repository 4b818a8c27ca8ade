"""LangGraph's private keys are what they were when they were tested; where they are not, no door opens."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph._internal import _constants
from langgraph.runtime import Runtime
from packaging.specifiers import SpecifierSet

from guardrail import Guard
from guardrail.errors import ConfigurationError
from langchain_guardrail import GuardedChatModel, GuardedRunnable, GuardrailMiddleware, langgraph_keys
from tests.kit.chains import Chat, content

GREEN = [HumanMessage(content("green"))]
DOORS: dict[str, Callable[[Guard], Any]] = {
    "model": lambda guard: GuardedChatModel(Chat(), guard),
    "runnable": lambda guard: GuardedRunnable(Chat(), guard),
    "middleware": GuardrailMiddleware,
}


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """Each test compares the keys for itself."""
    langgraph_keys.check.cache_clear()
    yield
    langgraph_keys.check.cache_clear()


def configurable_of(door_config: dict[str, Any], guard: Guard) -> dict[str, Any]:
    """Return what a chain behind a door finds in its config."""
    found: dict[str, Any] = {}

    def answer(_: Any, config: RunnableConfig) -> AIMessage:
        found.update(config["configurable"])
        return AIMessage("a cake")

    guarded = GuardedRunnable(RunnableLambda(answer), guard)
    assert guarded.invoke(GREEN, {"configurable": door_config}).text == "a cake"
    return found


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["CONFIG_KEY_SEND", "CONFIG_KEY_STREAM", "RESUME"])
def test_no_door_opens_before_a_langgraph_that_names_a_key_otherwise(
    guard: Guard, door: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_constants, name, "__graph_other")
    with pytest.raises(ConfigurationError, match=rf"{name} is '__graph_other'.*install 'langgraph>=") as caught:
        DOORS[door](guard)
    assert metadata.version("langgraph") in str(caught.value)
    assert langgraph_keys.TESTED in str(caught.value)
    monkeypatch.undo()
    DOORS[door](guard)


def test_nor_before_one_that_keeps_its_keys_elsewhere(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langgraph._internal._constants", None)
    with pytest.raises(ConfigurationError, match="CONFIG_KEY_CALL is None"):
        GuardedChatModel(Chat(), guard)


def test_without_langgraph_doors_open(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setitem(sys.modules, "langgraph._internal._constants", None)
    assert GuardedChatModel(Chat(says="a cake"), guard).invoke(GREEN).text == "a cake"


def test_a_key_that_is_not_known_does_not_reach_the_chain(guard: Guard) -> None:
    heard: list[str] = []
    graphs = {"__pregel_shout": heard.append, "__pregel_timed_attempt_observer": heard.append}
    found = configurable_of({**graphs, "__pregel_task_id": "7", "thread_id": "8"}, guard)
    assert found == {"__pregel_task_id": "7", "thread_id": "8"}


def test_every_key_of_the_installed_langgraph_is_known_to_be_silent_or_is_taken(guard: Guard) -> None:
    taken = {"send", "call", "runtime", "stream", "stream_messages_v2", "timed_attempt_observer"}
    keys = {value for name, value in vars(_constants).items() if name.startswith("CONFIG_KEY_")}
    names = {key.removeprefix("__pregel_") for key in keys if key.startswith("__pregel_")}
    assert {"send", "call", "runtime", "stream"} < names
    assert names <= taken | set(langgraph_keys._SILENT)
    assert taken.isdisjoint(langgraph_keys._SILENT)


def test_a_runtime_that_cannot_be_muted_stops_the_request(guard: Guard) -> None:
    class Changed(Runtime[None]):
        def override(self, **overrides: Any) -> Any:
            raise TypeError("unexpected keyword argument 'stream_writer'")

    with pytest.raises(ConfigurationError, match="takes no other stream_writer"):
        configurable_of({"__pregel_runtime": Changed()}, guard)


def test_the_extra_has_the_bounds_that_the_error_names() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert f"langgraph{langgraph_keys.TESTED}" in project["optional-dependencies"]["langchain"]
    assert metadata.version("langgraph") in SpecifierSet(langgraph_keys.TESTED)
