"""Buckets of draws that replicas share through Redis."""

from __future__ import annotations

from guardrail.stores.redis.connection import RedisConnection

# KEYS: the bucket. ARGV: tokens to take (negative: give back), size, tokens a millisecond.
_TAKE = """
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bucket = redis.call('hmget', KEYS[1], 'tokens', 'at')
local size, rate = tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens = tonumber(bucket[1] or size)
tokens = math.min(size, tokens + math.max(0, now - tonumber(bucket[2] or now)) * rate)
local allowed = tokens >= tonumber(ARGV[1])
if allowed then tokens = math.min(size, tokens - ARGV[1]) end
redis.call('hset', KEYS[1], 'tokens', tostring(tokens), 'at', now)
redis.call('pexpire', KEYS[1], math.ceil(size / rate) + 1000)
return allowed and 1 or 0
"""


class RedisBuckets:
    """A hash per bucket, `guardrail:v1:budget:<name>`, of its tokens and when they were counted; gone once it is full.

    Args:
        connection: to Redis.
    """

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    def take(self, name: str, draws: int, per_minute: int) -> bool:
        """Take draws out of a bucket, or put them back where they are negative; False if it does not hold as many.

        Raises:
            StoreError: Redis cannot be reached or refused.
        """
        key, rate = f"guardrail:v1:budget:{name}", per_minute / 60_000
        return bool(self._connection.call(lambda client: client.eval(_TAKE, 1, key, draws, per_minute, rate)))
