"""Near hits: what a stored certificate says about a request that lies within its radius, and what it does not.

A certificate at x with radius R also covers x' at the distance d < R: same verdict, radius R − d. Refusals reach
further, for refusing is always sound, and to prompts in which the same can be seen, for which nothing is certified.
Two certificates of different classes with d < R₁ + R₂ prove one of them false.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from guardrail.certify.certificate import Certificate, Verdict
from guardrail.errors import ConfigurationError
from guardrail.near.index import NearIndex, Neighbour, Point
from guardrail.request import CertificateKey, Request

logger = logging.getLogger(__name__)

Get: TypeAlias = Callable[[CertificateKey], Certificate | None]
Put: TypeAlias = Callable[[CertificateKey, Certificate], None]


class NearHits:
    """Serves stored certificates to requests of the same context whose images are near those they were computed on.

    Opt-in. Only fresh certificates enter the index; what a near hit serves is never stored.

    Args:
        refuse_within: L2 distance, in certification space, within which a stored abstention or harmful verdict answers
            a request with the same outcome. It keeps an attacker from asking again with a pixel changed, or with white
            space and invisible characters in the prompt.
        index: where the points are kept; None: in this process, bounded.

    Raises:
        ConfigurationError: a negative distance.
    """

    def __init__(self, refuse_within: float = 0.25, index: NearIndex | None = None) -> None:
        if not 0.0 <= refuse_within < float("inf"):
            raise ConfigurationError(f"refuse_within must be a finite distance of at least 0, got {refuse_within}")
        self.refuse_within = refuse_within
        self.index = NearIndex() if index is None else index

    def around(self, request: Request, get: Get, put: Put, refuses: Callable[[Certificate], bool]) -> Vicinity:
        """Return what stands near a request.

        Args:
            request: decoded and resized for it.
            get: looks a certificate up in the store.
            put: replaces it there, where it has been contradicted.
            refuses: whether a certificate's outcome is to refuse.
        """
        return Vicinity(self, request, Point.of(request.resized), get, put, refuses)


@dataclass(frozen=True)
class Vicinity:
    """What stands near one request. Made by `NearHits.around`."""

    _hits: NearHits
    _request: Request
    _point: Point
    _get: Get
    _put: Put
    _refuses: Callable[[Certificate], bool]

    def covers(self) -> Certificate | None:
        """Return what stored certificates say about a request that has none of its own; None if they say nothing."""
        within = self._hits.refuse_within
        near = self._known(self._neighbours(within))
        covering = [
            (n, c)
            for n, c in near
            if c.certified_class is not None and n.distance < c.radius and n.key.context == self._request.context
        ]
        if len({c.certified_class for _, c in covering}) > 1:
            for one, certificate in covering:
                self._withdraw(one, certificate)
            return _derived(contradicted(covering[0][1], covering[1][1]), self._request, covering[0][0])
        for one, certificate in near:  # the nearest first
            if self._refuses(certificate) and one.distance < max(within, certificate.radius):
                return _moved(certificate, self._request, one)
        if covering:
            best, certificate = max(covering, key=lambda pair: pair[1].radius - pair[0].distance)
            return _moved(certificate, self._request, best)
        return None

    def admit(self, fresh: Certificate) -> Certificate:
        """Take the request's own, fresh certificate into store and index, and return what is to be served.

        That is the certificate, or an abstention if a stored one contradicts it; that one is withdrawn as well. It is
        stored, then indexed, then compared: whoever finds a point finds its certificate, and of two that come at once
        at least one sees the other.
        """
        self._keep(fresh)
        if fresh.certified_class is not None and fresh.rigorous:
            near = self._neighbours(0.0, reach=fresh.radius)
            others = [neighbour for neighbour in near if neighbour.key.context == self._request.context]
            against = [
                (n, c)
                for n, c in self._known(others)
                if c.certified_class not in {None, fresh.certified_class} and n.distance < c.radius + fresh.radius
            ]
            for one, certificate in against:
                self._withdraw(one, certificate)
                fresh = contradicted(fresh, certificate)
            if against:
                self._keep(fresh)
        return fresh

    def _keep(self, fresh: Certificate) -> None:
        self._put(self._request.key, fresh)
        self._hits.index.add(self._request.near_context, self._request.key, self._point, fresh.radius)

    def _neighbours(self, within: float, reach: float = 0.0) -> list[Neighbour]:
        return self._hits.index.neighbours(self._request.near_context, self._point, within, reach)

    def _known(self, neighbours: list[Neighbour]) -> list[tuple[Neighbour, Certificate]]:
        """Return the neighbours that the store still has certificates of, of this very model and oracle.

        A point without one stays: the store may be out for a moment, and points leave by age.
        """
        known = []
        for neighbour in neighbours:
            if neighbour.key == self._request.key:
                continue
            certificate = self._get(neighbour.key)
            if certificate is not None and certificate.derived_from is None and certificate.rigorous:
                known.append((neighbour, certificate))
        return known

    def _withdraw(self, neighbour: Neighbour, certificate: Certificate) -> None:
        """Replace a stored certificate that another one contradicts by an abstention."""
        logger.error(
            "contradicting certificates: class %r for images %s, at distance %.4f from a request of %s; one is false, "
            "both are withdrawn",
            certificate.certified_class,
            neighbour.key.images,
            neighbour.distance,
            self._request.key.images,
        )
        self._put(neighbour.key, contradicted(certificate, None))


def contradicted(certificate: Certificate, other: Certificate | None) -> Certificate:
    """Return the abstention that is left of a certificate which another one contradicts."""
    against = "" if other is None else f" of class {other.certified_class!r} with radius {other.radius:.4f}"
    warning = f"withdrawn: class {certificate.certified_class!r} is contradicted by another certificate{against}"
    return certificate.model_copy(
        update={
            **_nothing(certificate),
            "verdict": Verdict.ABSTAIN,
            "certified_class": None,
            "cell": (),
            "stop_reason": "contradicted",
            "warnings": (*certificate.warnings, warning),
        }
    )


def _moved(certificate: Certificate, request: Request, neighbour: Neighbour) -> Certificate:
    """Return what a certificate says about a request at this distance: within its radius a certificate, else nothing.

    Radii shrink by d; with them q' = Φ(Φ⁻¹(q) − d/σ), and p' = Φ(Φ⁻¹(p) − d/σ), shifted, not corrected anew.
    """
    d, same_prompt = neighbour.distance, neighbour.key.context == request.context
    if certificate.certified_class is None and same_prompt:
        return _derived(certificate, request, neighbour)
    if d >= certificate.radius or not same_prompt:  # a refusal, repeated where nothing is certified
        repeated = certificate.model_copy(update=_nothing(certificate))
        return _derived(repeated, request, neighbour)
    radius = certificate.radius - d
    update = {
        "radius": radius,
        "radius_oracle": certificate.radius_oracle - d,
        "radius_true": None if certificate.radius_true is None else certificate.radius_true - d,
        "radius_original_pixels": radius / request.norm,
        "q_lower": _shifted(certificate.q_lower, d, certificate.sigma),
        "p_lower": None if certificate.p_lower is None else _shifted(certificate.p_lower, d, certificate.sigma),
    }
    return _derived(certificate.model_copy(update=update), request, neighbour)


def _derived(certificate: Certificate, request: Request, neighbour: Neighbour) -> Certificate:
    """Name the request and the source."""
    warning = (
        f"near hit: derived from the certificate of images {neighbour.key.images}, at distance {neighbour.distance:.4f}"
    )
    if neighbour.key.context != request.context:
        warning += ", for a prompt that differs in white space or invisible characters"
    return certificate.model_copy(
        update={
            "image_sha256": request.hashes,
            "prompt_sha256": request.prompt.digest,
            "derived_from": neighbour.key.images,
            "distance": neighbour.distance,
            "warnings": (*certificate.warnings, warning),
        }
    )


def _nothing(certificate: Certificate) -> dict[str, Any]:
    """Return the fields of a certificate that certifies nothing."""
    return {
        "radius": 0.0,
        "radius_oracle": 0.0,
        "radius_true": None if certificate.radius_true is None else 0.0,
        "radius_original_pixels": 0.0,
        "q_lower": 0.0,
        "p_lower": None if certificate.p_lower is None else 0.0,
        "answer": None,
    }


def _shifted(bound: float, distance: float, sigma: float) -> float:
    from scipy.special import ndtr, ndtri

    return max(0.0, float(ndtr(ndtri(bound) - distance / sigma)) * (1.0 - 1e-12))
