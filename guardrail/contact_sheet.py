"""A picture of certificates: each image, what the model saw of it, the votes, the radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guardrail.images import InputImage
from guardrail.policy import Decision

_COLOURS = {"harmless": "#3a7d44", "harmful": "#b3261e", "illegible": "#8a8a8a", "failed": "#222222"}
_OTHERS = ("#2f6690", "#7b5ea7", "#c77d0a", "#008080", "#a0522d", "#4b5d16")


@dataclass(frozen=True)
class Row:
    """One decision with its picture."""

    title: str
    image: InputImage
    noisy: Sequence[NDArray[np.float32]]
    """What the model saw in some draws: [height, width, 3], not clipped."""
    decision: Decision


def save(rows: Sequence[Row], path: Path, copies: int = 3) -> None:
    """Write the sheet as PNG: one row per decision, `copies` noisy copies each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * (copies + 1) + 5.2, 2.15 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), copies + 2, squeeze=False, width_ratios=[1.0] * (copies + 1) + [2.4])
    for row, line in zip(rows, axes, strict=True):
        pictures = [row.image.pixels, *(np.clip(noisy, 0.0, 1.0) for noisy in row.noisy[:copies])]
        for axis, picture in zip(line, pictures, strict=False):
            axis.imshow(picture)
        for axis in line[:-1]:
            axis.set_axis_off()
        line[0].set_title(row.title, fontsize=10)
        _votes(line[-1], row.decision)
    for axis, title in zip(axes[0][1:-1], ("under noise", "", ""), strict=False):
        axis.set_title(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _votes(axis: object, decision: Decision) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)  # noqa: S101 - for the type checker; subplots() is untyped
    certificate = decision.certificate
    reasons = ", ".join(decision.reasons)
    axis.set_title(f"{decision.action.upper()}  {reasons}", fontsize=10, loc="left")
    axis.set_yticks([])
    axis.spines[["top", "left", "right"]].set_visible(False)
    if certificate is None:
        axis.text(0.0, 0.5, "; ".join(decision.details), wrap=True, transform=axis.transAxes)
        return
    axis.set_xlim(0, certificate.draws)
    axis.set_ylim(-1.6, 0.9)
    others = iter(_OTHERS * len(certificate.counts))
    start = 0
    for label, count in certificate.counts.items():
        colour = _COLOURS.get(label) or next(others)
        axis.barh(0, count, left=start, color=colour, height=0.9)
        if count > 0.12 * certificate.draws:
            axis.text(start + count / 2, 0, f"{label} {count}", ha="center", va="center", color="white", fontsize=9)
        start += count
    axis.vlines(certificate.draws / 2, -0.6, 0.6, color="black", linewidth=0.8, linestyle=":")
    axis.text(
        0,
        -1.0,
        f"{certificate.certified_class or 'abstain'}: radius {certificate.radius:.3f} at the model, "
        f"{certificate.radius_original_pixels:.3f} in original pixels",
        fontsize=9,
        va="center",
    )
    axis.set_xlabel(f"{certificate.draws} draws at σ = {certificate.sigma:g}", fontsize=8)
