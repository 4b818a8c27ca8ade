"""How many draws a client may cause in a minute: what an attacker who varies an image pays with."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from guardrail.errors import BudgetSpentError, ConfigurationError, ImageError, PromptError, QueueFullError
from guardrail.stores.base import SharedBuckets
from guardrail.stores.outages import Outages


class DrawBudget:
    """A bucket of draws per client, which fills again evenly: shared by all replicas, else in this process.

    A decision reserves the most that it may draw, and gives back what it did not. Hits and near hits cost nothing. All
    requests without a client are one client. While the shared buckets are out, this process counts by itself.

    Args:
        per_minute: draws a minute; as many may be spent at once.
        shared: where replicas share the buckets; None: nowhere.
        capacity: clients that this process remembers; the one seen longest ago is forgotten first, its bucket full.

    Raises:
        ConfigurationError: a number below 1.
    """

    def __init__(self, per_minute: int, shared: SharedBuckets | None = None, *, capacity: int = 100_000) -> None:
        if per_minute < 1 or capacity < 1:
            raise ConfigurationError(f"per_minute and capacity must be at least 1, got {per_minute} and {capacity}")
        self.per_minute = per_minute
        self._shared = shared
        self._capacity = capacity
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._outages = Outages("the shared budget", "draws are counted in this process alone")

    def __repr__(self) -> str:
        return f"DrawBudget({self.per_minute})"

    @contextmanager
    def reserved(self, client: str | None, draws: int) -> Iterator[list[int]]:
        """Reserve draws for what is done inside, which appends what it drew; the rest is given back.

        If it ends by an exception, nothing is given back, unless it says that the draws not appended were not begun.

        Raises:
            BudgetSpentError: the client's bucket does not hold as many.
        """
        if not self._take(client, draws):
            raise BudgetSpentError(
                f"the client's budget of {self.per_minute} draws a minute does not hold the {draws} that a decision "
                "may take: ask again later"
            )
        spent: list[int] = []
        try:
            yield spent
        except (QueueFullError, ImageError, PromptError):  # raised before a draw was made
            if (rest := draws - sum(spent)) > 0:
                self._take(client, -rest)
            raise
        if (rest := draws - sum(spent)) > 0:
            self._take(client, -rest)

    def _take(self, client: str | None, draws: int) -> bool:
        name = "none" if client is None else hashlib.sha256(client.encode("utf-8", "replace")).hexdigest()
        if self._shared is not None:
            try:
                allowed = bool(self._shared.take(name, draws, self.per_minute))
            except Exception as error:  # noqa: BLE001 - whatever the buckets raise, draws can be counted here
                self._outages.failed("asked", error)
            else:
                self._outages.worked("asked")
                return allowed
        return self._take_here(name, draws)

    def _take_here(self, name: str, draws: int) -> bool:
        with self._lock:
            now = time.monotonic()
            tokens, at = self._buckets.pop(name, (float(self.per_minute), now))
            tokens = min(self.per_minute, tokens + (now - at) * self.per_minute / 60.0)
            allowed = tokens >= draws
            self._buckets[name] = (min(self.per_minute, tokens - draws) if allowed else tokens, now)
            while len(self._buckets) > self._capacity:
                self._buckets.popitem(last=False)
            return allowed
