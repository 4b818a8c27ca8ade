"""The chat models within a chain: find them, change them, and switch off their retries, caches and streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable


def models_in(chat: Runnable[Any, Any]) -> list[BaseChatModel]:
    """Return the chat models that can be seen in a chain, in order.

    Raises:
        ConfigurationError: as for `map_models`.
    """
    found: list[BaseChatModel] = []

    def collect(model: BaseChatModel) -> BaseChatModel:
        found.append(model)
        return model

    map_models(chat, collect)
    return found


def map_models(chat: Runnable[Any, Any], change: Callable[[BaseChatModel], Runnable[Any, Any]]) -> Runnable[Any, Any]:
    """Return a chain with each chat model that can be seen in it changed.

    Raises:
        ConfigurationError: no runnable, a text-only model, a chat model called within a function, which cannot be
            changed, or a part that repeats failed calls or has fallbacks.
    """
    from langchain_core.language_models import BaseChatModel

    if isinstance(chat, BaseChatModel):
        return change(chat)
    _refuse(chat)
    return _rebuilt(chat, [map_models(part, change) for part in _parts(chat)])


def _refuse(chat: Runnable[Any, Any]) -> None:
    """Raise for each kind of chain that `map_models` refuses."""
    from langchain_core.language_models import BaseLanguageModel
    from langchain_core.runnables import Runnable, RunnableLambda, RunnableWithFallbacks
    from langchain_core.runnables.retry import RunnableRetry

    kind = type(chat).__name__
    match chat:
        case RunnableRetry() | RunnableWithFallbacks():
            raise ConfigurationError(
                f"{kind} asks again after any failure, also one that came of the answer's content: "
                "leave it out, max_attempts repeats what may be repeated"
            )
        case BaseLanguageModel():
            raise ConfigurationError(f"{kind} completes text and sees no image: pass a chat model")
        case RunnableLambda() if any(isinstance(unbound(part)[0], BaseLanguageModel) for part in chat.deps):
            raise ConfigurationError(
                f"{chat.get_name()} calls a chat model within a function, where its retries cannot be switched off: "
                "make the model a step of the chain"
            )
        case Runnable():
            return
    raise ConfigurationError(f"{kind} is not a LangChain chat model or chain")


def _parts(chat: Runnable[Any, Any]) -> list[Runnable[Any, Any]]:
    """Return the parts of a chain; none for a runnable whose parts cannot be seen."""
    from langchain_core.runnables import RunnableBranch, RunnableParallel, RunnableSequence
    from langchain_core.runnables.base import RunnableBindingBase
    from langchain_core.runnables.passthrough import RunnableAssign

    match chat:
        case RunnableSequence():
            return chat.steps
        case RunnableBindingBase():
            return [chat.bound]
        case RunnableParallel():
            return list(chat.steps__.values())
        case RunnableAssign():
            return [chat.mapper]
        case RunnableBranch():
            return [*(part for branch in chat.branches for part in branch), chat.default]
    return []


def _rebuilt(chat: Runnable[Any, Any], parts: list[Runnable[Any, Any]]) -> Runnable[Any, Any]:
    """Return a copy of a chain with other parts, in the order of `_parts`."""
    from langchain_core.runnables import RunnableBranch, RunnableParallel, RunnableSequence
    from langchain_core.runnables.base import RunnableBindingBase
    from langchain_core.runnables.passthrough import RunnableAssign

    match chat:
        case RunnableSequence():
            return RunnableSequence(*parts, name=chat.name)
        case RunnableBindingBase():
            return chat.model_copy(update={"bound": parts[0]})
        case RunnableParallel():
            return chat.model_copy(update={"steps__": dict(zip(chat.steps__, parts, strict=True))})
        case RunnableAssign():
            return chat.model_copy(update={"mapper": parts[0]})
        case RunnableBranch():
            branches = list(zip(parts[:-1:2], parts[1:-1:2], strict=True))
            return chat.model_copy(update={"branches": branches, "default": parts[-1]})
    return chat


def bare(model: BaseChatModel, closers: list[Callable[[], Awaitable[None]]]) -> BaseChatModel:
    """Return a copy of a model without retries, caching and streaming.

    OpenAI's clients reuse connections that belong to other event loops. The copy gets new connections, which `closers`
    close at the end, unless a developer passed a client.

    Raises:
        ConfigurationError: the model's retries cannot be switched off.
    """
    fields = type(model).model_fields
    update: dict[str, Any] = {"cache": False, "disable_streaming": True}
    if "streaming" in fields:
        update["streaming"] = False
    client: Any = getattr(model, "root_async_client", None)
    if client is not None and hasattr(client, "with_options"):
        options: dict[str, Any] = {"max_retries": 0}
        proxy: str | None = getattr(model, "openai_proxy", None)
        if proxy or getattr(model, "http_async_client", None) is None:  # with a proxy, the client was made by the model
            from openai import DefaultAsyncHttpxClient

            http = DefaultAsyncHttpxClient(proxy=proxy or None)
            closers.append(http.aclose)
            options["http_client"] = http
        update |= {"max_retries": 0, "root_async_client": client.with_options(**options)}
        update["async_client"] = update["root_async_client"].chat.completions
    elif getattr(model, "max_retries", 0) != 0:
        raise ConfigurationError(
            f"{type(model).__name__} repeats failed calls itself, also those that failed because of what was said: "
            "construct it with max_retries=0"
        )
    return model.model_copy(update=update)


def unbound(chat: Runnable[Any, Any]) -> tuple[Runnable[Any, Any], dict[str, Any]]:
    """Return a runnable without its bindings, and the arguments that they bind; outer ones win."""
    from langchain_core.runnables.base import RunnableBindingBase

    arguments: dict[str, Any] = {}
    while isinstance(chat, RunnableBindingBase):
        arguments = {**chat.kwargs, **arguments}
        chat = chat.bound
    return chat, arguments


def bound_arguments(chat: Runnable[Any, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the arguments bound to a chain and its parts, outer ones first."""
    from langchain_core.runnables.base import RunnableBindingBase

    if isinstance(chat, RunnableBindingBase):
        yield chat.kwargs
    for part in _parts(chat):
        yield from bound_arguments(part)
