"""One thread at a time in what another wrote without thinking of threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary


class ObjectLocks:
    """A lock for each object, whatever its type, for as long as somebody holds it.

    Objects need be neither hashable nor open to attributes, and different ones never wait for each other.
    """

    def __init__(self) -> None:
        self._finding = threading.Lock()
        self._locks = WeakValueDictionary[int, threading.Lock]()

    @contextmanager
    def holding(self, thing: object) -> Iterator[None]:
        """Hold the object's lock."""
        with self._finding:
            lock = self._locks.get(id(thing)) or threading.Lock()
            self._locks[id(thing)] = lock
        with lock:
            yield
