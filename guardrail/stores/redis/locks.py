"""A lock in Redis: one owner at a time among all replicas, and whoever waits is woken."""

from __future__ import annotations

import logging
import secrets
import threading
import time

from guardrail.errors import StoreError
from guardrail.stores.redis.connection import RedisConnection

logger = logging.getLogger(__name__)

_SLICE = 0.2
"""Seconds that a waiter sleeps in Redis before it looks whether the lock has expired."""

# KEYS: lock, wake. ARGV: token, milliseconds. Asked again, the owner has it still: the first answer may have been lost.
_ACQUIRE = """
if redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) or redis.call('get', KEYS[1]) == ARGV[1] then
    redis.call('del', KEYS[2])
    return 1
end
return 0
"""
_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
# The element that wakes waiters stays in its list for a second, for those who were between two sleeps.
_RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then
    redis.call('del', KEYS[1])
    redis.call('rpush', KEYS[2], '1')
    redis.call('pexpire', KEYS[2], 1000)
end
return 1
"""


class RedisLock:
    """A lock that is held, renewed in the background until it is released. Made by `acquire`."""

    def __init__(self, connection: RedisConnection, names: tuple[str, str], token: str, ttl: float) -> None:
        self._connection = connection
        self._names = names
        self._token = token
        self._ttl = ttl
        self._released = threading.Event()
        threading.Thread(target=self._renew, name="guardrail-lock", daemon=True).start()

    def release(self) -> None:
        """Give the lock back, if it is still ours, and wake whoever waits. Never raises: it would expire by itself."""
        self._released.set()
        try:
            self._connection.call(lambda client: client.eval(_RELEASE, 2, *self._names, self._token), "unlocked")
        except StoreError as error:
            if not error.told:
                logger.warning("a lock was left to expire: %s", error)

    def _renew(self) -> None:
        milliseconds = int(self._ttl * 1000)
        while not self._released.wait(self._ttl / 3):
            try:
                renewed = self._connection.call(
                    lambda client: client.eval(_RENEW, 1, self._names[0], self._token, milliseconds), "locked"
                )
            except StoreError:
                continue  # there may be time for another try
            if not renewed:
                return  # expired, or Redis was emptied: somebody else may be computing too


def acquire(connection: RedisConnection, name: str, seconds: float, ttl: float) -> RedisLock | None:
    """Wait for a lock.

    Args:
        connection: to Redis.
        name: what is locked.
        seconds: to wait at most.
        ttl: seconds after which the lock of an owner that crashed expires.

    Returns:
        The lock; None if another owner has just released it, or time is up.

    Raises:
        StoreError: Redis cannot be reached.
    """
    names = (f"guardrail:v1:lock:{{{name}}}", f"guardrail:v1:wake:{{{name}}}")  # braces: both in one slot of a cluster
    token = secrets.token_hex(16)
    until = time.monotonic() + seconds
    while True:
        if connection.call(lambda client: client.eval(_ACQUIRE, 2, *names, token, int(ttl * 1000)), "locked"):
            return RedisLock(connection, names, token, ttl)
        pause = min(_SLICE, connection.timeout / 2, until - time.monotonic())
        if pause <= 0.0:
            return None
        if _woken(connection, names[1], pause):
            return None


def _woken(connection: RedisConnection, wake: str, seconds: float) -> bool:
    """Sleep in Redis until an owner is done; False when time is up. Moved onto itself, the element wakes all.

    Where many sleep there already, sleep here: whoever waits must not keep others from working.
    """
    pause = max(seconds, 0.01)  # to Redis, 0 means for ever
    until = time.monotonic() + pause
    if connection.sleep(lambda client: client.blmove(wake, wake, pause)) is not None:
        return True
    time.sleep(max(0.0, until - time.monotonic()))
    return False
