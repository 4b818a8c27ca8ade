"""A name for a chat model that differs wherever its answers may, without secrets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from guardrail.chat_calls.chains import unbound
from guardrail.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable
    from pydantic import BaseModel

_NAMED = ("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens")
"""Parameters that are spelled out in the name; all others are in its hash."""
_ENDPOINTS = ("openai_api_base", "azure_endpoint", "base_url", "endpoint_url", "endpoint")
_BESIDE = {
    *("callbacks", "tags", "metadata", "verbose", "name", "cache", "rate_limiter", "custom_get_token_ids"),
    *("streaming", "stream_usage", "disable_streaming", "max_retries", "request_timeout", "timeout", "seed"),
    *("default_headers", "openai_proxy", "http_socket_options", *_ENDPOINTS),
}
"""Fields of chat models that say how they are called, not what they answer, or that may hold secrets as plain text."""
_SECRET = re.compile(
    r"(?:^|[_-])(?:key|secret|password|passphrase|credentials?|auth|authorization|token|cookie)$", re.IGNORECASE
)
"""Names of fields and headers that hold secrets, also where a model declares them as plain text."""


def identity(chat: Runnable[Any, Any]) -> str:
    """Return a chat model's name: class, model, main parameters, and a hash of all parameters.

    Raises:
        ConfigurationError: a chain, whose parts cannot be known reliably.
    """
    from langchain_core.language_models import BaseChatModel

    inner, arguments = unbound(chat)
    if not isinstance(inner, BaseChatModel):
        raise ConfigurationError(
            f"what {type(inner).__name__} answers cannot be told from it: pass name=, which stands for all that the "
            "answers depend on (models, revisions, prompts)"
        )
    model = next((v for f in ("model_name", "model", "deployment_name") if (v := getattr(inner, f, None))), "")
    known = parameters(chat)
    shown = [f"{field} {known[field]}" for field in _NAMED if known.get(field) is not None]
    digest = fields_digest(
        inner,
        inner._identifying_params,
        arguments,
        getattr(inner, "default_headers", None) or {},  # gateways choose models by headers
        [_endpoint(inner, field) for field in _ENDPOINTS],
    )
    return "/".join((f"{' '.join(filter(None, (type(inner).__name__, model)))}@{digest}", *shown))


def fields_digest(model: BaseModel, *more: object) -> str:
    """Return a short hash of a model's class and fields, and of more; of nothing secret, nor of how it is called."""
    fields = {field: getattr(model, field) for field in type(model).model_fields if field not in _BESIDE}
    parts = (f"{type(model).__module__}.{type(model).__qualname__}", fields, *more)
    return hashlib.sha256(json.dumps(_plain(parts), sort_keys=True).encode()).hexdigest()[:12]


def parameters(chat: Runnable[Any, Any]) -> dict[str, Any]:
    """Return the sampling parameters and bound arguments; these win over the model's fields."""
    inner, arguments = unbound(chat)
    return {**{field: getattr(inner, field, None) for field in _NAMED}, **arguments}


def _plain(value: object) -> object:
    """Return a value in a form that JSON can write, the same in every process, without secrets."""
    from pydantic import BaseModel

    plain: object
    match value:
        case Mapping():
            plain = {str(key): _plain(part) for key, part in value.items() if not _secret(key, part)}
        case list() | tuple():
            plain = [_plain(part) for part in value]
        case set() | frozenset():
            plain = sorted(json.dumps(_plain(part), sort_keys=True) for part in value)
        case BaseModel():
            plain = [_name(type(value)), _plain({field: getattr(value, field) for field in type(value).model_fields})]
        case type() if issubclass(value, BaseModel):
            plain = [_name(value), _plain(value.model_json_schema())]
        case None | bool() | int() | float() | str():
            plain = value
        case _:
            plain = _name(value if hasattr(value, "__qualname__") else type(value))
    return plain


def _secret(key: object, value: object) -> bool:
    return isinstance(value, str) and _SECRET.search(str(key)) is not None


def _name(value: object) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"


def _endpoint(model: BaseChatModel, field: str) -> str | None:
    """Return host, port and path of a model's server; the rest of its URL may hold secrets."""
    url = getattr(model, field, None)
    if not isinstance(url, str):
        return None
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}{parts.path}"
