"""Outages in the log: once when one begins and once when it is over, however many requests it concerns."""

from __future__ import annotations

import logging
import threading

from guardrail.errors import StoreError

logger = logging.getLogger(__name__)


class Outages:
    """What of one service fails at the moment. Safe to use from many threads.

    Args:
        service: what fails, for the log, without secrets.
        instead: what is done without it.
    """

    def __init__(self, service: str, instead: str) -> None:
        self._service = service
        self._instead = instead
        self._failing: set[str] = set()
        self._lock = threading.Lock()

    def failed(self, what: str, error: Exception) -> None:
        """Take note that it cannot be `what`: "read", "written" and the like."""
        if isinstance(error, StoreError) and error.told:
            return
        with self._lock:
            first = not self._failing
            self._failing.add(what)
        if first:
            said = error if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            logger.warning("%s cannot be %s, %s: %s", self._service, what, self._instead, said)

    def worked(self, what: str) -> None:
        """Take note that it can be `what`."""
        if what not in self._failing:
            return
        with self._lock:
            self._failing.discard(what)
            over = not self._failing
        if over:
            logger.warning("%s works again", self._service)
