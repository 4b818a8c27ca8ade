"""Makes decisions visible to LangChain's callbacks and tracers, on the run that they are about."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, BaseCallbackManager, CallbackManager
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer

from guardrail.policy import Decision
from langchain_guardrail.blocked import decision_json

logger = logging.getLogger(__name__)

EVENT = "guardrail_decision"
"""Name of the custom callback event that carries each decision as plain JSON."""


class Started(BaseCallbackHandler):
    """A chat model's run, known from its start: LangChain does not tell a stream which run it belongs to."""

    run_inline = True

    def __init__(self, handlers: list[BaseCallbackHandler]) -> None:
        self.handlers = handlers
        self.run_id: UUID | None = None
        self.tags: list[str] = []
        self.metadata: dict[str, Any] = {}

    @classmethod
    def observe(cls, config: RunnableConfig, manager: BaseCallbackManager) -> tuple[RunnableConfig, Started]:
        """Return a config with these callbacks under which the next run is known by its start."""
        started = cls(list(manager.handlers))
        manager.add_handler(started, inherit=False)
        return RunnableConfig(**{**config, "callbacks": manager}), started

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002
        messages: list[list[BaseMessage]],  # noqa: ARG002
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Take down which run it is."""
        self.run_id, self.tags, self.metadata = run_id, tags or [], metadata or {}


Run = BaseRunManager | Started


def announce(decision: Decision, run: Run | None) -> None:
    """Send the custom event, and put the decision's id, action and reasons into the traced run's metadata."""
    if run is not None:
        _annotate(decision, run)
        manager = CallbackManager(run.handlers, tags=run.tags, metadata=run.metadata)
        with _logging_failures(decision):
            manager.on_custom_event(EVENT, decision_json(decision), run_id=run.run_id)


async def aannounce(decision: Decision, run: Run | None) -> None:
    """Send the custom event to asynchronous callbacks too, and annotate the run."""
    if run is not None:
        _annotate(decision, run)
        manager = AsyncCallbackManager(run.handlers, tags=run.tags, metadata=run.metadata)
        with _logging_failures(decision):
            await manager.on_custom_event(EVENT, decision_json(decision), run_id=run.run_id)


@contextmanager
def _logging_failures(decision: Decision) -> Iterator[None]:
    """Log what a handler raises: a decision stays a value, which no fallback goes round."""
    try:
        yield
    except Exception:
        logger.exception("a callback failed on decision %s", decision.id)


def _annotate(decision: Decision, run: Run) -> None:
    metadata: dict[str, Any] = {
        "guardrail_decision": decision.id,
        "guardrail_action": str(decision.action),
        "guardrail_reasons": [str(reason) for reason in decision.reasons],
    }
    for handler in run.handlers:
        traced = handler.run_map.get(str(run.run_id)) if isinstance(handler, BaseTracer | AsyncBaseTracer) else None
        if traced is not None:
            traced.add_metadata(metadata)
