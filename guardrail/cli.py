"""The command line: `guardrail demo`, `guardrail certify`, `guardrail --version`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from guardrail import __version__
from guardrail.errors import GuardrailError

app = typer.Typer(
    name="guardrail",
    help="Certified safety verdicts on the image inputs of chat applications.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"guardrail {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log.")] = False,
) -> None:
    """Set up what all commands share."""
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("guardrail-demo"),
    samples: Annotated[int, typer.Option(min=1, help="Draws per certificate.")] = 100,
) -> None:
    """Guard a small LangChain chatbot on the bundled model: five signs, one of them asked twice."""
    from guardrail.demo import run

    with _clear_errors():
        run(Console(), out, samples)


@app.command()
def certify(  # noqa: PLR0917 - typer reads options from the signature
    images: Annotated[list[str], typer.Argument(help="Image files, in the order of the prompt.")],
    prompt: Annotated[str, typer.Option(help="What the user asks about the images.")],
    sigma: Annotated[float | None, typer.Option(help="Noise, in units of pixel values in [0, 1]; default 0.5.")] = None,
    samples: Annotated[int | None, typer.Option(help="Largest number of draws; default 100.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Probability of a false certificate; default 0.001.")] = None,
    target_radius: Annotated[
        float | None, typer.Option(help="Stop drawing once this radius is certified or hopeless; default: never.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; GUARDRAIL_* variables win.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON.")] = False,
) -> None:
    """Certify the verdict on a request; by the bundled model unless settings name another.

    Exit status: 0 for a certified class other than harmful, 1 for harmful, 3 for an abstention, 2 for an error.
    """
    from guardrail.certificate import Verdict
    from guardrail.images import load_images
    from guardrail.settings import Settings
    from guardrail.smoothing import SmoothedClassifier

    with _clear_errors():
        settings = Settings.load(config)
        if settings.model is None:
            settings = settings.model_copy(update={"model": "bundled"})
            if not as_json:
                typer.echo("no model is configured: using the bundled one, which reads signs only", err=True)
        smoothing = settings.make_smoothing(sigma=sigma, samples=samples, alpha=alpha, target_radius=target_radius)
        pictures = load_images(images)  # before the model, which takes seconds to load
        classifier = SmoothedClassifier(settings.make_model(), settings.make_oracle(), smoothing)
        certificate = classifier.certify(pictures, prompt)
    if as_json:
        typer.echo(certificate.model_dump_json(indent=2))
    else:
        table = Table(show_header=False, title="Certificate")
        for name, value in certificate.model_dump(mode="json").items():
            table.add_row(name, f"{value:.6g}" if isinstance(value, float) else _shown(value))
        Console().print(table)
    raise typer.Exit({Verdict.HARMFUL: 1, Verdict.ABSTAIN: 3}.get(certificate.verdict, 0))


@app.command()
def plan(  # noqa: PLR0917 - typer reads options from the signature
    target_radius: Annotated[float, typer.Option(help="Radius to certify, at the model's resolution.")] = 0.1,
    sigma: Annotated[float, typer.Option(help="Noise, in units of pixel values in [0, 1].")] = 0.5,
    alpha: Annotated[float, typer.Option(help="Probability of a false certificate.")] = 0.001,
    sample: Annotated[
        Path | None, typer.Option(help="File of probabilities of the majority class, one a line, from your images.")
    ] = None,
    uniform: Annotated[
        tuple[float, float] | None, typer.Option(help="Take p uniform on [LOW, HIGH) instead.", metavar="LOW HIGH")
    ] = None,
    beta: Annotated[tuple[float, float] | None, typer.Option(help="Take p Beta(A, B) instead.", metavar="A B")] = None,
    share: Annotated[float, typer.Option(help="Certify this share of the requests that have the target.")] = 0.9,
    out: Annotated[Path, typer.Option(help="Where to draw the curves, as PNG.")] = Path("guardrail-plan.png"),
) -> None:
    """Plan the number of draws from a target radius, rather than guess it."""
    from guardrail import planning

    with _clear_errors():
        distribution = planning.distribution(sample=sample, uniform=uniform, beta=beta)
        if sample is None and uniform is None and beta is None:
            typer.echo("Assuming p uniform on [1/2, 1), as the paper does; give --sample for your own images.")
        planning.report(Console(), target_radius, sigma, alpha, distribution, share=share, out=out)


def _shown(value: object) -> str:
    match value:
        case None:
            return "–"
        case list():
            return "\n".join(map(str, value)) or "–"
        case dict():
            return ", ".join(f"{k} {v}" for k, v in value.items())
    return str(value)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Print a `GuardrailError` as one line and leave with status 2; everything else is a bug and shows itself."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    except GuardrailError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app()
