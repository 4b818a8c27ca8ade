"""`guardrail oracle threshold`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from guardrail.commands.errors import clear_errors
from guardrail.errors import ConfigurationError


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
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")] = False,
) -> None:
    """Choose from labelled pairs the similarity from which answers count as equivalent."""
    with clear_errors():
        if not 0.0 < most_false < 1.0:
            raise ConfigurationError(f"most_false must be between 0 and 1, got {most_false}")
        from guardrail.commands.threshold_report import report
        from guardrail.measuring.labelled_pairs import read_pairs
        from guardrail.oracles.meaning.similarity import SentenceEncoder

        if out.is_dir() or any(parent.is_file() for parent in out.parents):
            raise ConfigurationError(f"--out {out} cannot be a file for the record: choose another")
        labelled = read_pairs(pairs)  # before the model, which takes seconds to load
        record = report(
            Console(stderr=as_json, quiet=as_json),
            SentenceEncoder(model, revision=revision, device=device),
            labelled,
            data=pairs.name,
            out=out,
            most_false=most_false,
            confidence=confidence,
            seed=seed,
        )
    if as_json:
        typer.echo(record.model_dump_json(indent=2))
