"""Where a request's certificate comes from: the store, a stored one near it, or draws of its own, once per key."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from guardrail.budget import DrawBudget
from guardrail.certify.certificate import CERTIFICATE_VERSION, Certificate
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.errors import DEADLINE, QueueFullError, StoreError
from guardrail.near import NearHits
from guardrail.oracles.base import Oracle, RepresentativeOracle
from guardrail.policy import Policy
from guardrail.request import CertificateKey, Request, joint_hash
from guardrail.stores.base import CertificateStore, CountingStore, StoreStats
from guardrail.stores.once import Found, OncePerKey
from guardrail.stores.outages import Outages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lookup:
    """Finds certificates, and makes them where there are none."""

    classifier: SmoothedClassifier
    oracle: Oracle | RepresentativeOracle
    policy: Policy
    store: CertificateStore | None
    near: NearHits | None
    budget: DrawBudget | None
    once: OncePerKey
    outages: Outages
    """Of the store, for the log."""

    def find(self, request: Request, client: str | None, until: float | None, timings: dict[str, float]) -> Found:
        """Return a certificate of the request, and where it came from.

        Args:
            request: made by the classifier.
            client: who pays for draws.
            until: `time.monotonic()` after which draws not begun count as failed; None: no limit.
            timings: milliseconds by stage, added to.

        Raises:
            GuardrailError: it cannot be made.
        """
        search = _Search(self, request, client, until, timings)
        if self.store is None:
            return search.compute()
        repeats = self.classifier.repeats
        return self.once.run(request.key, search.stored, search.compute, until, in_line=not repeats)


@dataclass(frozen=True)
class _Search:
    """The search for one request's certificate."""

    parts: Lookup
    request: Request
    client: str | None
    until: float | None
    timings: dict[str, float]

    def stored(self) -> Certificate | None:
        """Look into the store."""
        return self.get(self.request.key)

    def compute(self) -> Found:
        """Find a certificate that covers the request, or draw for one of its own."""
        with timed(self.timings, "images"):
            _ = self.request.pictures
        if self.parts.near is None:
            certificate = self.certify()
            if self.keeps(certificate):
                self.put(self.request.key, certificate)
            return certificate, "computed"
        near = self.parts.near.around(self.request, self.get, self.put, self.refuses)
        with timed(self.timings, "near"):
            covered = near.covers()
        if covered is not None:
            return covered, "near"
        certificate = self.certify()
        return near.admit(certificate) if self.keeps(certificate) else certificate, "computed"

    def refuses(self, certificate: Certificate) -> bool:
        """Whether today's policy refuses what this outcome stands for."""
        return self.parts.policy.refuses(certificate, oracle_of(self.parts.oracle, certificate))

    def certify(self) -> Certificate:
        """Draw, within the client's budget."""
        classifier, most = self.parts.classifier, self.parts.classifier.most_draws
        budget = self.parts.budget
        reserved = budget.reserved(self.client, most) if budget else nullcontext(list[int]())
        with reserved as drawn, timed(self.timings, "smoothing"):
            try:
                certificate = classifier.run(self.request, self.until)
            except QueueFullError:
                drawn.append(most - classifier.smoothing.samples)  # those that select a class came before
                raise
            late = certificate.stop_reason == DEADLINE  # then draws were made that no look counts
            drawn.append(most if late else certificate.draws + certificate.selection_draws)
        return certificate

    def get(self, key: CertificateKey) -> Certificate | None:
        """Return what the store has under a key of this request's, or a neighbour's; None for a miss, or an outage."""
        store = self.parts.store
        if store is None:
            return None
        try:
            with timed(self.timings, "store"):
                certificate = self._genuine(store, key)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the guard can do without
            self._without_store("read", error)
            return None
        self.parts.outages.worked("read")
        return certificate

    def keeps(self, certificate: Certificate) -> bool:
        """Whether an outcome stands for those who ask again.

        What a deadline cut short does not, where the same draws can then go on. Where they cannot, it does as soon as
        a draw was made: to ask again would be another chance.
        """
        if certificate.stop_reason != DEADLINE:
            return True
        return not self.parts.classifier.repeats and certificate.failures.get(DEADLINE, 0) < certificate.draws

    def put(self, key: CertificateKey, certificate: Certificate) -> None:
        """Store what was computed: abstentions and harmful verdicts too."""
        if self.parts.store is None:
            return
        try:
            with timed(self.timings, "store"):
                self.parts.store.put(key, certificate)
        except Exception as error:  # noqa: BLE001 - as in get
            self._without_store("written", error)
        else:
            self.parts.outages.worked("written")

    def _genuine(self, store: CertificateStore, key: CertificateKey) -> Certificate | None:
        """Return what the store has, if it is what it should be."""
        certificate = store.get(key)
        if certificate is None:
            return None
        if not isinstance(certificate, Certificate):
            raise TypeError(f"the store gave a {type(certificate).__name__}, not a Certificate")
        counts = _stats(store)
        if not self._is_about(certificate, key):
            logger.error("the store gave a certificate of another request for %s: treated as a miss", key)
            counts.miss("another_request")
            return None
        counts.hit()
        return certificate

    def _is_about(self, certificate: Certificate, key: CertificateKey) -> bool:
        """Whether a stored certificate says by itself that it is about the key's images and this request's context.

        Of a neighbour's key the prompt is unknown: it is another in which the same can be seen.
        """
        classifier = self.parts.classifier
        oracle = oracle_of(self.parts.oracle, certificate)
        said = (joint_hash(certificate.image_sha256), certificate.model, certificate.oracle)
        wanted = (key.images, classifier.model.name, oracle.name)
        if key.context == self.request.context and certificate.prompt_sha256 != self.request.prompt.digest:
            return False
        said_how = (certificate.version, certificate.sigma, certificate.alpha, certificate.derived_from)
        smoothing = classifier.smoothing
        return said == wanted and said_how == (CERTIFICATE_VERSION, smoothing.sigma, smoothing.alpha, None)

    def _without_store(self, what: str, error: Exception) -> None:
        self.parts.outages.failed(what, error)
        if self.parts.policy.store_required:
            raise StoreError(f"the certificate store failed: {error}") from error


def _stats(store: CertificateStore) -> StoreStats:
    """Return where a store counts its hits; some that nobody reads where it does not count as ours do."""
    try:
        stats = store.stats if isinstance(store, CountingStore) else None
    except Exception:  # noqa: BLE001 - a store's own property of this name may do anything
        stats = None
    return stats if isinstance(stats, StoreStats) else StoreStats()


def oracle_of(oracle: Oracle | RepresentativeOracle, certificate: Certificate | None) -> Oracle:
    """Return the oracle that judged the certificate's draws, its classes found again if they were found."""
    if isinstance(oracle, Oracle):
        return oracle
    return oracle.fixed_on(certificate.representative if certificate is not None else None)


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Add what is done inside to a stage, in milliseconds."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = timings.get(stage, 0.0) + (time.perf_counter() - start) * 1000.0
