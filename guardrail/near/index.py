"""Finds stored requests near a new one in certification space: a cheap contraction first, exact distances to decide."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guardrail.digests import digest_of
from guardrail.errors import ConfigurationError
from guardrail.request import CertificateKey
from guardrail.stores.base import SharedPoints, StoredPoint
from guardrail.stores.outages import Outages

LEVELS = 65_535
"""Pixels are kept in 16 bits, as multiples of 1/LEVELS."""

_BLOCKS = 4  # a side, of each channel of each image
_ROUNDING = 1e-9  # relative and absolute; float64 sums of ten million squares err by less
_CHUNK = 65_536  # values compared before looking whether it is too far already


@dataclass(frozen=True, eq=False)
class Point:
    """A request's images in certification space.

    Attributes:
        sizes: height and width of each image there.
        pixels: all images one after another, resized, neither rounded nor clipped: [N] of float64.
        sketch: `contract` of them: [K] of float64.
    """

    sizes: tuple[tuple[int, int], ...]
    pixels: NDArray[np.float64]
    sketch: NDArray[np.float64]

    @classmethod
    def of(cls, images: Sequence[NDArray[np.float64]]) -> Point:
        """Make the point of resized images, each [h, w, 3] of float64."""
        sizes = tuple((image.shape[0], image.shape[1]) for image in images)
        pixels = np.concatenate([image.reshape(-1) for image in images])
        return cls(sizes, pixels, np.concatenate([contract(image) for image in images]))


@dataclass(frozen=True)
class Neighbour:
    """A stored request that is near.

    Attributes:
        key: of its certificate; its prompt may be another one in which the same can be seen.
        distance: upper bound on the joint L2 distance, of pixel values in [0, 1].
    """

    key: CertificateKey
    distance: float


class NearIndex:
    """The points of one process, bounded in number and memory; the one that was used longest ago leaves first.

    Args:
        capacity: largest number of points.
        max_bytes: most memory for their pixels (8 GiB hold ten thousand of 336 × 336; the bundled model's take 24 kB).
        shared: where replicas share them; None: nowhere.
    """

    def __init__(
        self, *, capacity: int = 10_000, max_bytes: int = 512 * 2**20, shared: SharedPoints | None = None
    ) -> None:
        if capacity < 1 or max_bytes < 1:
            raise ConfigurationError(f"capacity and max_bytes must be positive, got {capacity} and {max_bytes}")
        self.capacity = capacity
        self.max_bytes = max_bytes
        self._shared = shared
        self._buckets: dict[str, _Bucket] = {}
        self._order: OrderedDict[tuple[str, CertificateKey], int] = OrderedDict()  # bucket and key → bytes
        self._bytes = 0
        self._lock = threading.RLock()
        self._outages = Outages("shared points of near hits", "those of this process are used")

    def __len__(self) -> int:
        return len(self._order)

    def add(self, context: str, key: CertificateKey, point: Point, radius: float) -> None:
        """Keep the point of a certificate; its radius, 0 for an abstention, says how far it is looked for."""
        bucket, stored = bucket_of(context, point), rounded(key, point, radius)
        self._keep(bucket, stored)
        if self._shared is not None:
            try:
                self._shared.publish(bucket, stored)
            except Exception as error:  # noqa: BLE001 - as in _distance
                self._outages.failed("published", error)
            else:
                self._outages.worked("published")

    def neighbours(self, context: str, point: Point, within: float, reach: float = 0.0) -> list[Neighbour]:
        """Return the stored requests of this context and these sizes that are near, the nearest first.

        Near is: `distance < max(within, radius + reach)`, with `radius` that of the stored certificate.
        """
        name = bucket_of(context, point)
        for stored in self._news(name):
            if (name, stored.key) not in self._order and stored.sketch.size == point.sketch.size:
                self._keep(name, stored)
        with self._lock:
            bucket = self._buckets.get(name)
            candidates = bucket.candidates(point.sketch, within, reach) if bucket else []
        found = []
        for stored, limit in candidates:
            distance = self._distance(name, stored, point, limit)
            if distance is not None and distance < limit:
                found.append(Neighbour(stored.key, distance))
                self._touch(name, stored.key)
        return sorted(found, key=lambda neighbour: neighbour.distance)

    def _news(self, bucket: str) -> Iterable[StoredPoint]:
        if self._shared is None:
            return ()
        try:
            news = list(self._shared.news(bucket))
        except Exception as error:  # noqa: BLE001 - as in _distance
            self._outages.failed("asked for news", error)
            return ()
        self._outages.worked("asked for news")
        return news

    def _distance(self, bucket: str, stored: StoredPoint, point: Point, limit: float) -> float | None:
        """Return an upper bound on the distance; None if it is above the limit, or the pixels are gone."""
        levels = stored.levels
        if levels is None and self._shared is not None:
            try:
                levels = self._shared.levels(bucket, stored.key)
            except Exception as error:  # noqa: BLE001 - an outage, whatever it raises; no reason to forget a point
                self._outages.failed("fetched", error)
                return None
            self._outages.worked("fetched")
            if levels is not None and levels.size == point.pixels.size:
                self._keep(bucket, StoredPoint(stored.key, levels, stored.sketch, stored.residual, stored.radius))
        if levels is None or levels.size != point.pixels.size:
            self._drop(bucket, stored.key)
            return None
        total = 0.0
        for start in range(0, levels.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            change = point.pixels[part] - levels[part] / LEVELS
            total += float(change @ change)
            if total > limit**2:
                return None
        return _up(total**0.5) + stored.residual

    def _keep(self, bucket: str, stored: StoredPoint) -> None:
        with self._lock:
            self._drop(bucket, stored.key)
            size = stored.sketch.nbytes + (0 if stored.levels is None else stored.levels.nbytes)
            if size > self.max_bytes:
                return
            self._buckets.setdefault(bucket, _Bucket(stored.sketch.size)).add(stored)
            self._order[bucket, stored.key] = size
            self._bytes += size
            while len(self._order) > self.capacity or self._bytes > self.max_bytes:
                self._drop(*next(iter(self._order)))

    def _drop(self, bucket: str, key: CertificateKey) -> None:
        with self._lock:
            size = self._order.pop((bucket, key), None)
            if size is not None:
                self._bytes -= size
                self._buckets[bucket].remove(key)
                if not self._buckets[bucket].places:
                    del self._buckets[bucket]

    def _touch(self, bucket: str, key: CertificateKey) -> None:
        with self._lock:
            if (bucket, key) in self._order:
                self._order.move_to_end((bucket, key))


class _Bucket:
    """The points of one context and list of sizes, their sketches as one matrix."""

    def __init__(self, width: int) -> None:
        self.places: dict[CertificateKey, int] = {}
        self._points: list[StoredPoint] = []
        self._sketches = np.empty((16, width))
        self._squares = np.empty(16)
        self._radii = np.empty(16)

    def add(self, stored: StoredPoint) -> None:
        place = len(self._points)
        if place == len(self._squares):
            self._sketches = np.concatenate([self._sketches, np.empty_like(self._sketches)])
            self._squares, self._radii = (np.concatenate([a, np.empty_like(a)]) for a in (self._squares, self._radii))
        self._points.append(stored)
        self._write(place, stored)

    def remove(self, key: CertificateKey) -> None:
        """Put the last point in the place of the one that goes."""
        place, last = self.places.pop(key), self._points.pop()
        if last.key != key:
            self._points[place] = last
            self._write(place, last)

    def candidates(self, sketch: NDArray[np.float64], within: float, reach: float) -> list[tuple[StoredPoint, float]]:
        """Return the points whose contraction does not rule them out, with their limits, the most likely first."""
        count = len(self._points)
        limits = np.maximum(within, self._radii[:count] + reach)
        square = float(sketch @ sketch)
        products = self._sketches[:count] @ sketch
        bounds = self._squares[:count] - 2.0 * products + square
        # Lower bounds must not come out too large, and float64 loses some of squares that cancel.
        bounds -= 1e-13 * (self._squares[:count] + square) + 1e-6
        # All of them: pictures of one sketch are easily made, and a bound on the number would let them hide a refusal.
        places = np.flatnonzero(bounds <= limits**2)
        places = places[np.argsort(bounds[places])]
        return [(self._points[place], float(limits[place])) for place in places]

    def _write(self, place: int, stored: StoredPoint) -> None:
        self.places[stored.key] = place
        self._sketches[place] = stored.sketch
        self._squares[place] = float(stored.sketch @ stored.sketch)
        self._radii[place] = stored.radius


def rounded(key: CertificateKey, point: Point, radius: float) -> StoredPoint:
    """Return a point as it is kept, under the key of its certificate, with that one's radius."""
    levels = np.rint(np.clip(point.pixels, 0.0, 1.0) * LEVELS).astype(np.uint16)
    return StoredPoint(key, levels, point.sketch, _up(np.linalg.norm(point.pixels - levels / LEVELS)), radius)


def contract(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map an image [h, w, C] to a few numbers, such that no two images come to lie further apart than they are.

    Cut each channel into blocks. For a block z of m pixels, z = μ·1 + r with the mean μ and r orthogonal to 1, so that
    ‖z − z'‖² = m(μ − μ')² + ‖r − r'‖² ≥ (√m·μ − √m·μ')² + (‖r‖ − ‖r'‖)², by the triangle inequality. The numbers are
    √m·μ and ‖r‖ of all blocks; summing over the blocks proves it for images, and over images for requests.
    """
    height, width, _ = image.shape
    rows, columns = (np.unique(np.linspace(0, side, _BLOCKS + 1).astype(int)[:-1]) for side in (height, width))

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)

    area = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))[..., None]
    totals = sums(image)
    means = np.repeat(np.repeat(totals / area, np.diff(rows, append=height), 0), np.diff(columns, append=width), 1)
    residuals = np.sqrt(sums((image - means) ** 2))
    return np.concatenate([(totals / np.sqrt(area)).reshape(-1), residuals.reshape(-1)])


def bucket_of(context: str, point: Point) -> str:
    """Return the digest of what two requests must share for a distance between them to mean anything."""
    return digest_of(part.encode() for part in ("2", str(_BLOCKS), context, repr(point.sizes))).hex()


def _up(value: float | np.floating) -> float:
    """Round a computed norm up by more than float64 may have lost."""
    return float(value) * (1.0 + _ROUNDING) + _ROUNDING
