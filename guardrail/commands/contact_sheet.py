"""A picture of certificates: each image, what the model saw of it, the votes, the radius."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from guardrail.certify.certificate import Certificate
from guardrail.images.pictures import InputImage
from guardrail.policy import Decision
from guardrail.request import Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"harmless": "#3a7d44", "harmful": "#b3261e", "illegible": "#8a8a8a", "failed": "#222222"}
_OTHERS = ("#2f6690", "#7b5ea7", "#c77d0a", "#008080", "#a0522d", "#4b5d16")
_SOURCES: dict[Source | None, str] = {
    "hit": "from the store: no new draw",
    "near": "from one nearby: no new draw",
}
_LETTER = 0.017
"""Width of a letter in a bar, as a share of the axis."""


@dataclass(frozen=True)
class Row:
    """One decision with its picture."""

    title: str
    image: InputImage
    noisy: Sequence[NDArray[np.float32]]
    """What the model saw in some draws: [height, width, 3], not clipped."""
    decision: Decision


def save(rows: Sequence[Row], path: Path, copies: int = 3) -> None:
    """Write the sheet as PNG: one row per decision, `copies` noisy copies each, votes on the same axis."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(rows, copies).savefig(path, dpi=110)


def draw(rows: Sequence[Row], copies: int = 3) -> Figure:
    """Draw the sheet that `save` writes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * (copies + 1) + 5.2, 2.15 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), copies + 2, squeeze=False, width_ratios=[1.0] * (copies + 1) + [2.4])
    most = max((row.decision.certificate.draws for row in rows if row.decision.certificate), default=1)
    for row, line in zip(rows, axes, strict=True):
        pictures = [row.image.pixels, *(np.clip(noisy, 0.0, 1.0) for noisy in row.noisy[:copies])]
        for axis, picture in zip(line, pictures, strict=False):
            axis.imshow(picture)
        for axis in line[:-1]:
            axis.set_axis_off()
        line[0].set_title(row.title, fontsize=10)
        _votes(line[-1], row.decision, most)
    for axis, title in zip(axes[0][1:-1], ("under noise", "", ""), strict=False):
        axis.set_title(title, fontsize=10)
    return figure


def _votes(axis: Axes, decision: Decision, most: int) -> None:
    """Draw the votes on an axis that has room for the `most` draws of any row."""
    from matplotlib.ticker import MaxNLocator

    certificate = decision.certificate
    said = (decision.action.upper(), ", ".join(decision.reasons), _SOURCES.get(decision.source, ""))
    axis.set_title("   ".join(filter(None, said)), fontsize=10, loc="left")
    axis.set_yticks([])
    axis.spines[["top", "left", "right"]].set_visible(False)
    axis.set_xlim(0, most)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(-1.6, 0.9)
    if certificate is None:
        axis.text(0, 0, "; ".join(decision.details), wrap=True, va="center")
        return
    others = iter(_OTHERS * len(certificate.counts))
    start = 0
    for label, count in certificate.counts.items():
        colour = _COLOURS.get(label) or next(others)
        axis.barh(0, count, left=start, color=colour, height=0.9)
        words = (f"{label} {count}", str(count))
        fitting = next((word for word in words if count > _LETTER * most * len(word)), "")
        axis.text(start + 0.01 * most, 0, fitting, va="center", color="white", fontsize=9)
        start += count
    axis.vlines(certificate.draws / 2, -0.6, 0.6, color="black", linewidth=0.8, linestyle=":")
    axis.text(0, -1.0, _outcome(certificate), fontsize=9, va="center")
    votes = ", ".join(f"{label} {count}" for label, count in certificate.counts.items() if count)
    axis.set_xlabel(f"{certificate.draws} draws at σ = {certificate.sigma:g}: {votes}; dotted: half", fontsize=8)


def _outcome(certificate: Certificate) -> str:
    if certificate.certified_class is None:
        return "abstain: no class is certified"
    return (
        f"{certificate.certified_class}: radius {certificate.radius:.3f} at the model, "
        f"{certificate.radius_original_pixels:.3f} in original pixels"
    )
