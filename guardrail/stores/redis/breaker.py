"""A circuit breaker: while a service is out, calls to it are refused at once, and nobody's request tries it out."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after failures in a row; closes when a probe, made in the background, finds the service well.

    Args:
        probe: asks the service for a sign of life; raises if there is none.
        failures: number of failures in a row that open it.
        cooldown: seconds between probes, shortened at random by up to a half so that replicas do not probe together.
    """

    def __init__(self, probe: Callable[[], object], *, failures: int = 3, cooldown: float = 1.0) -> None:
        self._probe = probe
        self._failures = failures
        self._cooldown = cooldown
        self._failed = 0
        self._next_probe = 0.0
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Whether calls are refused."""
        return self._failed >= self._failures

    def allows(self) -> bool:
        """Say whether to call the service. A refusal starts a probe if one is due, and does not wait for it."""
        with self._lock:
            if not self.open:
                return True
            if time.monotonic() >= self._next_probe:
                self._wait()
                threading.Thread(target=self._try, name="guardrail-probe", daemon=True).start()
            return False

    def succeeded(self) -> None:
        """Take note of a call that reached the service."""
        if self._failed:
            with self._lock:
                self._failed = 0

    def failed(self) -> None:
        """Take note of a call that did not."""
        with self._lock:
            self._failed += 1
            if self._failed == self._failures:
                self._wait()

    def _wait(self) -> None:
        self._next_probe = time.monotonic() + self._cooldown * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret

    def _try(self) -> None:
        try:
            self._probe()
        except Exception:  # noqa: BLE001 - whatever it is, the service is not well yet
            return
        self.succeeded()
