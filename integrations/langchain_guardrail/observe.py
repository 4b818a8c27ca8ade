"""Makes decisions visible to LangChain's callbacks and tracers, on the run that they are about."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer

from guardrail.policy import Decision
from langchain_guardrail.refusal import decision_json

EVENT = "guardrail_decision"
"""Name of the custom callback event that carries each decision as plain JSON."""


def announce(decision: Decision, run: BaseRunManager | None) -> None:
    """Send the custom event, and put the decision's id, action and reasons into the traced run's metadata."""
    if run is not None:
        _annotate(decision, run)
        manager = CallbackManager(run.handlers, tags=run.tags, metadata=run.metadata)
        manager.on_custom_event(EVENT, decision_json(decision), run_id=run.run_id)


async def aannounce(decision: Decision, run: BaseRunManager | None) -> None:
    """Do as `announce`."""
    if run is not None:
        _annotate(decision, run)
        manager = AsyncCallbackManager(run.handlers, tags=run.tags, metadata=run.metadata)
        await manager.on_custom_event(EVENT, decision_json(decision), run_id=run.run_id)


def _annotate(decision: Decision, run: BaseRunManager) -> None:
    told: dict[str, Any] = {
        "guardrail_decision": decision.id,
        "guardrail_action": str(decision.action),
        "guardrail_reasons": [str(reason) for reason in decision.reasons],
    }
    for handler in run.handlers:
        traced = handler.run_map.get(str(run.run_id)) if isinstance(handler, BaseTracer | AsyncBaseTracer) else None
        if traced is not None:
            traced.add_metadata(told)
