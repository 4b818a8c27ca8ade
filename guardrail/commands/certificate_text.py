"""A certificate in words: one line for a reader, and a table of what it holds."""

from __future__ import annotations

import math

from rich.table import Table

from guardrail.certify.certificate import Certificate
from guardrail.oracles.base import FAILED, ILLEGIBLE


def sentence(certificate: Certificate, seconds: float) -> str:
    """Say what was established, with which confidence and at what cost; of an abstention, why, and what may help."""
    cost = f"{certificate.draws + certificate.selection_draws} draws, {seconds:.1f} s"
    if certificate.certified_class is None:
        return f"abstain: {_why(certificate)} ({cost})"
    return (
        f"{certificate.certified_class}: no change of the pixels smaller than L2 {_down(certificate.radius)} at the "
        f"model's resolution ({_down(certificate.radius_original_pixels)} in the original) changes this verdict "
        f"(confidence {100 * (1 - certificate.alpha):.6g} %, {cost})"
    )


def fields(certificate: Certificate) -> Table:
    """Return the certificate's fields, without those that are empty."""
    rows = Table(show_header=False, title="Certificate")
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for name, value in certificate.model_dump(mode="json").items():
        if value not in (None, [], {}):
            rows.add_row(name, _shown(value))
    return rows


def _why(certificate: Certificate) -> str:
    counts, draws = certificate.counts, certificate.draws
    leader = max(counts, key=lambda label: counts[label])
    most = f"{counts[leader]} of {draws} draws"
    if certificate.stop_reason == "contradicted":
        return "the draws contradict what is assumed about the oracle's errors; measure them again"
    if leader == FAILED:
        reasons = ", ".join(f"{reason} {count}" for reason, count in certificate.failures.items())
        return f"{most} failed ({reasons}); mend the model or the oracle"
    if leader == ILLEGIBLE:
        return f"{most} could not read the picture under noise; a smaller sigma or a denoiser may help"
    if counts[leader] == draws == certificate.budget:
        return f"all {draws} draws say {leader}, too few to prove anything at alpha {certificate.alpha:g}; allow more"
    if certificate.stop_reason == "futility":
        return f"{most} say {leader}, and the target was out of reach; a lower target or more samples may help"
    return f"{most} say {leader}, which proves no majority; more samples or a smaller sigma may help"


def _down(radius: float) -> str:
    """Write a radius with three digits, never larger than it is."""
    digits = 3 if radius >= 0.001 else 6
    return f"{math.floor(radius * 10**digits) / 10**digits:.{digits}f}"


def _shown(value: object) -> str:
    match value:
        case float():
            return f"{value:.6g}"
        case list():
            return "\n".join(map(str, value))
        case dict():
            return ", ".join(f"{name} {count}" for name, count in value.items())
    return str(value)
