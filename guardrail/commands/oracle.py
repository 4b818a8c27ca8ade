"""The command line of oracles: `guardrail oracle evaluate`, `threshold`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from guardrail.commands.errors import clear_errors
from guardrail.commands.threshold import threshold

if TYPE_CHECKING:
    from guardrail.oracles.base import Oracle
    from guardrail.settings import Settings

oracle_app = typer.Typer(help="What an oracle's word is worth.", no_args_is_help=True)


@oracle_app.callback()
def main() -> None:
    """Measure oracles."""


oracle_app.command()(threshold)


@oracle_app.command()
def evaluate(  # noqa: PLR0917 - typer reads options from the signature
    labels: Annotated[
        Path,
        typer.Argument(help="CSV file with the columns request, prompt, answer, label; category, where there is one."),
    ],
    population: Annotated[str, typer.Option(help="What requests the answers were drawn from, in words.")],
    vlm: Annotated[str, typer.Option(help="Name of the model that gave the answers.")],
    held_out: Annotated[
        bool | None,
        typer.Option(
            "--held-out/--not-held-out",
            help="Whether these answers had no part in choosing the oracle, its threshold or the error model. Needed.",
        ),
    ] = None,
    oracle: Annotated[
        str | None, typer.Option(help="The oracle, as GUARDRAIL_ORACLE names it; default: the settings'.")
    ] = None,
    judged_column: Annotated[
        str | None, typer.Option(help="Column with the judgements of an oracle elsewhere, instead of --oracle.")
    ] = None,
    oracle_name: Annotated[
        str | None, typer.Option(help="With --judged-column: that oracle's `name`, which a guard will compare.")
    ] = None,
    certified_class: Annotated[
        str, typer.Option("--class", help="The class whose certificates will use the bound.")
    ] = "harmless",
    model: Annotated[
        Literal["worst-case", "class-conditional", "symmetric"],
        typer.Option(help="The error model, chosen before looking at these labels."),
    ] = "worst-case",
    alpha_oracle: Annotated[
        float | None,
        typer.Option(help="Probability that the bound is wrong; default: half of the settings' alpha."),
    ] = None,
    estimate_missed: Annotated[
        bool, typer.Option("--estimate-missed", help="class-conditional: bound the rate of missed answers, too.")
    ] = False,
    classes: Annotated[
        str | None, typer.Option(help="What labels may be, comma-separated; default: the oracle's classes.")
    ] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999_999, help="Of each interval in the tables.")] = 0.95,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; GUARDRAIL_* variables win.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the record and the plot.")] = Path("guardrail-oracle"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")] = False,
) -> None:
    """Measure how often an oracle errs, and write the bound that `GUARDRAIL_ORACLE_ERROR` names.

    At most one answer per request counts: the first in the file, whose order must not depend on the labels. The
    command refuses labels that are not held out, and too few to show an error rate below 1/2.
    """
    from guardrail.errors import ConfigurationError
    from guardrail.measuring.oracle_errors import report
    from guardrail.settings import Settings

    with clear_errors():
        settings = Settings.load(config)
        if held_out is None:
            raise ConfigurationError(
                "say --held-out if these answers had no part in choosing the oracle, its threshold or the error model, "
                "or --not-held-out if they had: their errors are then shown, and bound nothing"
            )
        for option, said in (("--population", population), ("--vlm", vlm), ("--oracle-name", oracle_name)):
            if said is not None and not said.strip():
                raise ConfigurationError(f"{option} is empty: say it in words, it stands on every certificate")
        names = [name.strip() for name in classes.split(",")] if classes else []
        if not all(names) or len({*names}) < len(names):
            raise ConfigurationError(f"--classes must be different names, separated by commas; got {classes!r}")
        if (judged_column is None) != (oracle_name is None) or (judged_column is not None and oracle is not None):
            raise ConfigurationError("give --oracle, or both --judged-column and --oracle-name")
        alpha = settings.smoothing.alpha / 2 if alpha_oracle is None else alpha_oracle
        if not 0.0 < alpha < 1.0:
            raise ConfigurationError(f"--alpha-oracle must lie strictly between 0 and 1, got {alpha}")
        report(
            Console(stderr=as_json, quiet=as_json),
            labels,
            oracle_name or _oracle(settings, oracle),
            certified_class=certified_class,
            kind=model,
            population=population,
            vlm=vlm,
            held_out=held_out,
            alpha_oracle=alpha,
            estimate_missed=estimate_missed,
            judged_column=judged_column,
            classes=names,
            confidence=confidence,
            out=out,
        )
    if as_json:
        typer.echo((out / "oracle-error.json").read_text("utf-8"), nl=False)


def _oracle(settings: Settings, name: str | None) -> Oracle:
    """Make the oracle of the settings, or another by its name there."""
    from pydantic import Secret

    from guardrail.errors import ConfigurationError
    from guardrail.named import known_oracle

    if name is not None and name != settings.oracle:
        try:
            update = {"oracle": known_oracle(name), "oracle_options": Secret({})}
        except ConfigurationError as error:
            raise ConfigurationError(f"--oracle {name!r}: {error}") from None
        settings = settings.model_copy(update=update)
    return settings.make_measurable_oracle()
