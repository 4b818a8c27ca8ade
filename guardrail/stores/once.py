"""One computation per key, however many ask: within this process, and across replicas where the store has locks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from guardrail.callers import current_caller
from guardrail.certify.certificate import Certificate
from guardrail.errors import DEADLINE, ModelError, OracleError
from guardrail.request import CertificateKey, Source
from guardrail.stores.base import Lock, SharedLocks
from guardrail.stores.outages import Outages

Found = tuple[Certificate, Source]


class OncePerKey:
    """Lets one of many equal requests compute, and the others wait for what it finds.

    Whoever waits is bounded by its deadline and by `patience`, and then computes for itself: no request is lost. A
    result that its deadline cut short is not shared, nor is an error, except one of model or oracle: the next in line
    computes.

    Args:
        locks: a store with locks, for one computation among all replicas; None: within this process.
        outages: of that store.
        patience: seconds to wait at most for somebody else's computation.
    """

    def __init__(
        self, locks: SharedLocks | None = None, outages: Outages | None = None, *, patience: float = 60.0
    ) -> None:
        self._locks = locks
        self._outages = outages or Outages("the store", "computing without a lock")
        self._patience = patience
        self._flights: dict[CertificateKey, Future[Found | None]] = {}
        self._lock = threading.Lock()

    def run(
        self,
        key: CertificateKey,
        look: Callable[[], Certificate | None],
        compute: Callable[[], Found],
        until: float | None = None,
        *,
        in_line: bool = False,
    ) -> Found:
        """Return what is found by looking or computing, by this caller or another.

        Args:
            key: what is computed.
            look: looks into the store.
            compute: computes and stores.
            until: `time.monotonic()` after which to wait no more.
            in_line: wait until then, whatever the patience: computations at the same time would each be a chance.
        """
        certificate = look()
        if certificate is not None:
            return certificate, "hit"
        give_up = math.inf if in_line else time.monotonic() + self._patience
        give_up = give_up if until is None else min(give_up, until)
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    mine = self._flights[key] = Future()
            if flight is None:
                return self._lead(mine, key, look, compute, give_up)
            try:
                shared = _result(flight, max(0.0, min(threading.TIMEOUT_MAX, give_up - time.monotonic())))
            except TimeoutError:
                return compute()
            if shared is not None:
                certificate, source = shared
                return certificate, "hit" if source == "computed" else source

    def _lead(
        self,
        mine: Future[Found | None],
        key: CertificateKey,
        look: Callable[[], Certificate | None],
        compute: Callable[[], Found],
        give_up: float,
    ) -> Found:
        shared: Found | None = None
        failure: Exception | None = None
        try:
            found = self._across_replicas(key, look, compute, give_up)
            shared = found if found[0].stop_reason != DEADLINE else None
        except (ModelError, OracleError) as error:
            caller = current_caller()
            failure = None if caller is not None and caller.cancelled else error  # to give up is one's own affair
            raise
        finally:
            with self._lock:
                del self._flights[key]
            if failure is None:
                mine.set_result(shared)
            else:
                mine.set_exception(failure)
        return found

    def _across_replicas(
        self,
        key: CertificateKey,
        look: Callable[[], Certificate | None],
        compute: Callable[[], Found],
        give_up: float,
    ) -> Found:
        while True:
            lock, alone = self._acquire(key, give_up)
            try:
                certificate = look()  # it may have been computed since we looked last
                if certificate is not None:
                    return certificate, "hit"
                if alone or time.monotonic() >= give_up:
                    return compute()
            finally:
                if lock is not None:
                    self._release(lock)

    def _acquire(self, key: CertificateKey, give_up: float) -> tuple[Lock | None, bool]:
        """Return the lock, and whether to compute: with it, or where no other replica can be asked."""
        if self._locks is None:
            return None, True
        try:
            lock = self._locks.acquire(key, min(self._patience, give_up - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - whatever a store raises, computing twice does no harm
            self._outages.failed("locked", error)
            return None, True
        self._outages.worked("locked")
        return lock, lock is not None

    def _release(self, lock: Lock) -> None:
        try:
            lock.release()
        except Exception as error:  # noqa: BLE001 - it promises not to raise, and the answer is there
            self._outages.failed("unlocked", error)
        else:
            self._outages.worked("unlocked")


def _result(flight: Future[Found | None], seconds: float) -> Found | None:
    """Wait for what another computes, and no longer than one's own caller wants it.

    Raises:
        TimeoutError: it takes longer.
        concurrent.futures.CancelledError: the caller has called it off.
    """
    caller = current_caller()
    if caller is None:
        return flight.result(seconds)
    waiter: Future[Found | None] = Future()

    def pass_on(done: Future[Found | None]) -> None:
        error = done.exception()
        with suppress(InvalidStateError):  # called off meanwhile
            if error is None:
                waiter.set_result(done.result())
            else:
                waiter.set_exception(error)

    flight.add_done_callback(pass_on)
    caller.watch(waiter)
    return waiter.result(seconds)
