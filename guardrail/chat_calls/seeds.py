"""Sampling seeds of chat models: one per call, and none that all calls share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from guardrail.chat_calls.chains import bound_arguments, models_in
from guardrail.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

_NESTED = ("model_kwargs", "extra_body")
"""Parameters that hold further ones."""


def seed_parameter(models: Sequence[BaseChatModel], seed: bool | str) -> str | None:
    """Return the name of the parameter that takes a call's seed; None: unseeded.

    Raises:
        ConfigurationError: a named parameter, and no model to take it.
    """
    if isinstance(seed, str):
        if not models:
            raise ConfigurationError(f"no chat model can be seen in the chain, so none takes {seed!r}: pass seed=False")
        return seed
    return "seed" if seed and models and all("seed" in type(model).model_fields for model in models) else None


def seeded(model: BaseChatModel, parameter: str, seed: int) -> Runnable[Any, Any]:
    """Return a model that samples with this seed."""
    if parameter in type(model).model_fields:
        return model.model_copy(update={parameter: seed})
    return model.bind(**{parameter: seed})


def fixed_seeds(chat: Runnable[Any, Any], parameter: str | None = None) -> set[str]:
    """Return the names of seeds that all calls of a chain share, without `parameter`, which each call sets."""
    names = {"seed", "random_seed", parameter or "seed"}
    fixed: set[str] = set()
    for model in models_in(chat):
        fixed.update(name for name in names - {parameter} if getattr(model, name, None) is not None)
        fixed.update(*(names & set(getattr(model, field, None) or ()) for field in _NESTED))
    for arguments in bound_arguments(chat):
        fixed.update(names & set(arguments), *(names & set(arguments.get(field) or ()) for field in _NESTED))
    return fixed
