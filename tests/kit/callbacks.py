"""What callbacks and traces of a run bring."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler


class Spy(BaseCallbackHandler):
    """Writes down everything that callbacks bring."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.events: list[tuple[str, Any]] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("on_"):
            return found

        def note(*args: Any, **kwargs: Any) -> None:
            self.heard.append(f"{name} {args} {kwargs}")
            if name == "on_custom_event":
                self.events.append((args[0], args[1]))

        return note


def written(run: Any) -> Any:
    """All that a traced run and its children keep."""
    return run.name, run.inputs, run.outputs, run.error, run.events, [written(child) for child in run.child_runs]
