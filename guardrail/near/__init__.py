"""Near hits: a certificate also covers what lies within its radius."""

from guardrail.near.hits import Asked, NearHits
from guardrail.near.index import NearIndex, Point

__all__ = ["Asked", "NearHits", "NearIndex", "Point"]
