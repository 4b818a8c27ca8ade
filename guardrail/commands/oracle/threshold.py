"""`guardrail oracle threshold`: the similarity from which answers count as equivalent, as a table and a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardrail.commands import look
from guardrail.commands.errors import Force, clear_errors, output_file
from guardrail.errors import ConfigurationError
from guardrail.measuring.labelled_pairs import LabelledPair, calibrate, read_pairs
from guardrail.measuring.recall import Share
from guardrail.measuring.threshold import PairErrors, ScoredPair, SimilarityThreshold
from guardrail.oracles.meaning.similarity import SentenceEncoder

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.table import Table

GRID = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Thresholds that are compared."""


def threshold(  # noqa: PLR0917 - typer reads options from the signature
    pairs: Annotated[Path, typer.Argument(help="CSV file with the columns left, right, equivalent (1 or 0).")],
    model: Annotated[str, typer.Option(help="Sentence-transformers model: hub id or folder.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    most_false: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Largest share of pairs that count as equivalent and are not.")
    ] = 0.05,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999_999, help="That the share is no larger.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the split into a calibration and a held-out half.")] = 0,
    device: Annotated[str | None, typer.Option(help="Torch device; default: CUDA where there is one.")] = None,
    out: Annotated[Path, typer.Option(help="Where to write the record; the plot goes beside it.")] = Path(
        "guardrail-threshold.json"
    ),
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")] = False,
) -> None:
    """Choose from labelled pairs the similarity from which answers count as equivalent."""
    with clear_errors():
        if not 0.0 < most_false < 1.0:
            raise ConfigurationError(f"most_false must be between 0 and 1, got {most_false}")
        labelled = read_pairs(pairs)  # before the model, which takes seconds to load
        output_file(out, replace=force)
        record = choose_and_show(
            look.console(quiet=as_json),
            SentenceEncoder(model, revision=revision, device=device),
            labelled,
            data=pairs.name,
            out=out,
            most_false=most_false,
            confidence=confidence,
            seed=seed,
        )
    if as_json:
        typer.echo(record.to_json(), nl=False)


def choose_and_show(
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
    look.save(plot(record, calibration, held_out), picture)
    console.print(f"model  {record.model}\ndata   {data} {record.data_sha256[:12]}, {len(pairs)} pairs\n")
    console.print(_table(record, calibration))
    console.print(
        f"\nThreshold {record.threshold:.4f}: the smallest at which, with confidence {confidence:.0%}, at "
        f"most {most_false:.1%} of pairs that are not equivalent count as equivalent.\nOn the held-out half: "
        f"{_shown(record.held_out.false_equivalent)} falsely equivalent, {_shown(record.held_out.missed)} missed."
    )
    shared = sum(count > 1 for count in Counter(text for p in pairs for text in {p.left, p.right}).values())
    if shared:
        console.print(
            f"{shared} texts stand in several pairs: pairs that share a text are not independent, and the bounds are "
            "then too narrow.",
            style="yellow",
        )
    console.print(f"Record: {out}   Plot: {picture}")
    return record


def _table(record: SimilarityThreshold, calibration: Sequence[ScoredPair]) -> Table:
    table = look.table(
        "threshold",
        "falsely equivalent",
        "missed",
        right=("threshold",),
        title="Calibration half",
        caption=f"count, share, and two-sided {record.confidence:.0%} interval (Clopper–Pearson)",
    )
    for threshold in sorted({*GRID, record.threshold}):
        errors = PairErrors.of(calibration, threshold, record.confidence)
        style = "bold green" if threshold == record.threshold else None
        table.add_row(f"{threshold:.4f}", _shown(errors.false_equivalent), _shown(errors.missed), style=style)
    return table


def _shown(share: Share) -> str:
    return f"{share.count} of {share.total}, {100 * share.share:.1f} % ({look.interval(share)})"


def plot(record: SimilarityThreshold, calibration: Sequence[ScoredPair], held_out: Sequence[ScoredPair]) -> Figure:
    """Draw the cosines of all pairs by label, and both errors of the held-out half by threshold."""
    figure, ((left, right),) = look.figure(9.5, 3.8)
    scored = [*calibration, *held_out]
    low = min(0.0, *(s.cosine for s in scored))
    bins = [low + (1.0 - low) * i / 40 for i in range(41)]
    for label, name, colour in ((False, "not equivalent", look.BAD), (True, "equivalent", look.GOOD)):
        cosines = [min(s.cosine, 1.0) for s in scored if s.equivalent is label]
        left.hist(cosines, bins=bins, alpha=0.6, color=colour, label=f"{name} ({len(cosines)})")
    left.set_ylabel("pairs")
    grid = [low + (1.0 - low) * i / 200 for i in range(201)]
    errors = [PairErrors.of(held_out, t, record.confidence) for t in grid]
    for shares, name, colour in (
        ([e.false_equivalent for e in errors], "falsely equivalent", look.BAD),
        ([e.missed for e in errors], "missed", look.GOOD),
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
    return figure
