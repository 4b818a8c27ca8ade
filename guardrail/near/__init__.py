"""Near hits: a certificate also covers what lies within its radius."""

from guardrail.near.hits import NearHits
from guardrail.near.index import NearIndex, Point

__all__ = ["NearHits", "NearIndex", "Point"]
