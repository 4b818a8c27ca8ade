"""Why a call failed, and whether the model may have answered before."""

from __future__ import annotations

import socket
from collections.abc import Collection


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that an error of most providers' clients carries; None: it has none."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def retry_after(error: Exception) -> float | None:
    """Return the seconds of a server's Retry-After header; None without one."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    try:
        return max(0.0, float(headers.get("retry-after"))) if headers is not None else None
    except (TypeError, ValueError):
        return None


def before_content(error: Exception, retry_statuses: Collection[int]) -> bool:
    """Whether a call provably failed before the model said anything: only then may it be repeated.

    That is a refused connection, or a status by which the server rejects a request before it generates anything:
    those of `retry_statuses`, and a 503 that says when to come back. Other 503s can hide an answer that broke the
    server.
    """
    status = status_of(error)
    if status is not None:
        return status in retry_statuses or (status == 503 and retry_after(error) is not None)
    return unreachable(error)


def unreachable(error: Exception) -> bool:
    """Whether no connection was made, so that no request was sent."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, (ConnectionRefusedError, socket.gaierror)):
            return True
        if type(link).__name__ in {"ConnectError", "ClientConnectorError"}:  # httpx and aiohttp, not imported here
            return True
        link = link.__cause__
    return False


_BY_NAME = {
    "ContentFilterFinishReasonError": "filtered",
    "LengthFinishReasonError": "cut",
    "ValidationError": "unparsable",
    "JSONDecodeError": "unparsable",
}
"""Reasons by class of error, of clients that parse structured answers themselves."""


def reason(error: Exception) -> str:
    """Return why a call failed, for counts and logs; never a message, which could quote the request."""
    if getattr(error, "code", None) == "content_filter":
        return "filtered"
    name = type(error).__name__
    if name in _BY_NAME:
        return _BY_NAME[name]
    status = status_of(error)
    if status is not None:
        return f"http {status}"
    if unreachable(error):
        return "unreachable"
    if isinstance(error, TimeoutError) or "Timeout" in name:
        return "timeout"
    return "connection cut" if "Connection" in name else f"error {name}"


def no_call_can_succeed(error: Exception) -> str | None:
    """Return the error in the set-up that makes every call fail; None: only this call failed."""
    match status_of(error):
        case 401:
            return "the server refuses the API key (HTTP 401): set a valid one"
        case 404:
            return "the server knows no such model or path (HTTP 404): check the model's name and the base URL"
    return None
