"""Points that replicas share through Redis: signed, bounded, and gone when Redis is."""

from __future__ import annotations

import math
import struct
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from guardrail.errors import StoreError
from guardrail.request import CertificateKey
from guardrail.stores.base import CERTIFICATE_TTL, StoredPoint
from guardrail.stores.outages import Outages
from guardrail.stores.redis.connection import RedisConnection
from guardrail.stores.signing import RejectedEntryError, Signer

_NEXT = "guardrail:v2:near:next"
_FIXED = struct.Struct(">32s32sQdd")  # images, context, slot, residual, radius
_PAGE = 1000
_MOST_BUCKETS = 10_000
_MOST_SLOTS = 100_000


class RedisPoints:
    """A stream per bucket with what the first comparison needs, and a ring of strings with the pixels.

    | name | type | content |
    |---|---|---|
    | `guardrail:v2:near:<bucket>` | stream | entries of key, slot, residual, radius and sketch |
    | `guardrail:v2:near:pixels:<slot>` | string | an entry of the levels of a point |
    | `guardrail:v2:near:next` | integer | points so far; modulo `capacity`, the next slot |

    A stream has at most about `capacity` entries, and there are `capacity` slots. All but the last name expire. Entries
    are signed for their bucket, levels for bucket and key as well: what another point has overwritten does not
    verify, and is gone.

    Args:
        connection: to Redis.
        signer: seals the entries.
        ttl: seconds that points are kept.
        capacity: most points whose pixels are kept, of all buckets together.
        max_bytes: of the largest point's pixels; larger ones are not shared.
    """

    def __init__(
        self,
        connection: RedisConnection,
        signer: Signer,
        *,
        ttl: float = CERTIFICATE_TTL,
        capacity: int = 10_000,
        max_bytes: int = 4 * 2**20,
    ) -> None:
        self._connection = connection
        self._signer = signer
        self._ttl = ttl
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._seen: OrderedDict[str, bytes] = OrderedDict()  # bucket → last entry that was read
        self._slots: OrderedDict[tuple[str, CertificateKey], int] = OrderedDict()
        self._lock = threading.Lock()
        self._outages = Outages("points of near hits", "replicas do not share them")

    def publish(self, bucket: str, stored: StoredPoint) -> None:
        """Let other replicas know a point."""
        if stored.levels is None or stored.levels.nbytes + 1024 > self._max_bytes:
            return
        pixels = stored.levels.astype("<u2", copy=False).tobytes()
        named, milliseconds = f"{bucket}:{stored.key}", math.ceil(self._ttl * 1000)
        entry = self._signer.seal(named, pixels, self._ttl, limit=self._max_bytes, compress=False)
        try:
            slot = self._connection.call(lambda c: c.incr(_NEXT), "written") % self._capacity
            head = _FIXED.pack(*_raw(stored.key), slot, stored.residual, stored.radius)
            sealed = self._signer.seal(bucket, head + stored.sketch.astype("<f8").tobytes(), self._ttl)
            self._connection.call(lambda c: c.set(_pixels(slot), entry, px=milliseconds), "written")
            self._connection.call(lambda c: c.xadd(_stream(bucket), {"e": sealed}, maxlen=self._capacity), "written")
            self._connection.call(lambda c: c.pexpire(_stream(bucket), milliseconds), "written")
        except StoreError as error:
            self._outages.failed("written", error)
        else:
            self._outages.worked("written")

    def news(self, bucket: str) -> list[StoredPoint]:
        """Return the points that have come to a bucket since it was last asked; none if Redis is out."""
        found: list[StoredPoint] = []
        with self._lock:
            last = self._seen.get(bucket, b"-")
            while True:
                page = self._page(bucket, last)
                found += [stored for _, fields in page if (stored := self._read(bucket, fields))]
                last = page[-1][0] if page else last
                if len(page) < _PAGE:
                    break
            self._seen[bucket] = last
            self._seen.move_to_end(bucket)
            while len(self._seen) > _MOST_BUCKETS:
                self._seen.popitem(last=False)
        return found

    def levels(self, bucket: str, key: CertificateKey) -> NDArray[np.uint16] | None:
        """Return the levels of a point; None if they are gone, or another point's.

        Raises:
            StoreError: Redis is out.
        """
        slot = self._slots.get((bucket, key))
        if slot is None:
            return None
        entry = self._connection.call(lambda c: c.get(_pixels(slot)), "read")
        if entry is None:
            return None
        try:
            pixels = self._signer.open(f"{bucket}:{key}", entry, limit=self._max_bytes)
        except RejectedEntryError:
            return None
        return np.frombuffer(pixels, "<u2").astype(np.uint16, copy=False) if len(pixels) % 2 == 0 else None

    def _page(self, bucket: str, last: bytes) -> list[tuple[bytes, dict[bytes, bytes]]]:
        start = last if last == b"-" else b"(" + last
        try:
            page = list(self._connection.call(lambda c: c.xrange(_stream(bucket), min=start, count=_PAGE), "read"))
        except StoreError as error:
            self._outages.failed("read", error)
            return []
        self._outages.worked("read")
        return page

    def _read(self, bucket: str, fields: dict[bytes, bytes]) -> StoredPoint | None:
        try:
            content = self._signer.open(bucket, fields.get(b"e", b""))
            images, context, slot, residual, radius = _FIXED.unpack_from(content)
            sketch = np.frombuffer(content[_FIXED.size :], "<f8").astype(np.float64)
        except (RejectedEntryError, struct.error, ValueError):
            return None
        key = CertificateKey(images.hex(), context.hex())
        self._slots[bucket, key] = slot
        while len(self._slots) > _MOST_SLOTS:
            self._slots.popitem(last=False)
        return StoredPoint(key, None, sketch, residual, radius)


def _raw(key: CertificateKey) -> tuple[bytes, bytes]:
    return bytes.fromhex(key.images), bytes.fromhex(key.context)


def _stream(bucket: str) -> str:
    return f"guardrail:v2:near:{bucket}"


def _pixels(slot: int) -> str:
    return f"guardrail:v2:near:pixels:{slot}"
