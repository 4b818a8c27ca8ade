"""`guardrail oracle threshold`: a table and a plot of what each threshold would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from guardrail.measuring.labelled_pairs import LabelledPair, calibrate
from guardrail.measuring.recall import Share
from guardrail.measuring.threshold import PairErrors, ScoredPair, SimilarityThreshold
from guardrail.oracles.meaning.similarity import SentenceEncoder

GRID = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def report(
    console: Console,
    encoder: SentenceEncoder,
    pairs: Sequence[LabelledPair],
    *,
    data: str,
    out: Path,
    most_false: float = 0.05,
    confidence: float = 0.95,
    seed: int = 0,
) -> SimilarityThreshold:
    """Choose a threshold, print what others would have done, and write `out` (JSON) and a plot beside it (PNG).

    Arguments and errors as `calibrate`.
    """
    record, calibration, held_out = calibrate(
        encoder, pairs, data=data, most_false=most_false, confidence=confidence, seed=seed
    )
    picture = out.with_suffix(".png")
    record.save(out)
    plot(record, calibration, held_out, picture)
    console.print(f"model  {record.model}\ndata   {data} {record.data_sha256[:12]}, {len(pairs)} pairs", "")
    console.print(_table(record, calibration))
    console.print(
        f"\nThreshold [bold]{record.threshold:.4f}[/bold]: the smallest at which, with confidence {confidence:.0%}, at "
        f"most {most_false:.1%} of pairs that are not equivalent count as equivalent.\nOn the held-out half: "
        f"{_shown(record.held_out.false_equivalent)} falsely equivalent, {_shown(record.held_out.missed)} missed."
    )
    shared = sum(count > 1 for count in Counter(text for p in pairs for text in {p.left, p.right}).values())
    if shared:
        console.print(
            f"[yellow]{shared} texts stand in several pairs: pairs that share a text are not independent, and the "
            "bounds are then too narrow.[/yellow]"
        )
    console.print(f"Record: {out}   Plot: {picture}")
    return record


def _table(record: SimilarityThreshold, calibration: Sequence[ScoredPair]) -> Table:
    table = Table(title="Calibration half", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("threshold", justify="right")
    for name in ("falsely equivalent", "missed"):
        table.add_column(name, no_wrap=True)
    for threshold in sorted({*GRID, record.threshold}):
        errors = PairErrors.of(calibration, threshold, record.confidence)
        style = "bold green" if threshold == record.threshold else None
        table.add_row(f"{threshold:.4f}", _shown(errors.false_equivalent), _shown(errors.missed), style=style)
    table.caption = f"count, share, and two-sided {record.confidence:.0%} interval (Clopper–Pearson)"
    return table


def _shown(share: Share) -> str:
    return (
        f"{share.count} of {share.total}, {100 * share.share:.1f} % ({100 * share.lower:.1f}–{100 * share.upper:.1f} %)"
    )


def plot(
    record: SimilarityThreshold, calibration: Sequence[ScoredPair], held_out: Sequence[ScoredPair], path: Path
) -> None:
    """Draw the cosines of all pairs by label, and both errors of the held-out half by threshold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    scored = [*calibration, *held_out]
    low = min(0.0, *(s.cosine for s in scored))
    bins = [low + (1.0 - low) * i / 40 for i in range(41)]
    for label, name, colour in ((False, "not equivalent", "#b3261e"), (True, "equivalent", "#3a7d44")):
        cosines = [min(s.cosine, 1.0) for s in scored if s.equivalent is label]
        left.hist(cosines, bins=bins, alpha=0.6, color=colour, label=f"{name} ({len(cosines)})")
    left.set_ylabel("pairs")
    grid = [low + (1.0 - low) * i / 200 for i in range(201)]
    errors = [PairErrors.of(held_out, t, record.confidence) for t in grid]
    for shares, name, colour in (
        ([e.false_equivalent for e in errors], "falsely equivalent", "#b3261e"),
        ([e.missed for e in errors], "missed", "#3a7d44"),
    ):
        right.plot(grid, [s.share for s in shares], color=colour, label=name)
        right.fill_between(grid, [s.lower for s in shares], [s.upper for s in shares], color=colour, alpha=0.15)
    right.axhline(record.most_false, color="grey", linestyle=":", label=f"at most {record.most_false:g}")
    right.set_ylabel("share of the held-out half")
    right.set_ylim(0.0, 1.0)
    for axis in (left, right):
        axis.axvline(record.threshold, color="black", linestyle="--", label=f"threshold {record.threshold:.3f}")
        axis.set_xlabel("cosine")
        axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
