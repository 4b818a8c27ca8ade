"""The command line: `guardrail demo`, `certify`, `plan`, `evaluate`, `oracle`, `doctor`, `audit`, `override`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from guardrail.commands.audit import audit, override
from guardrail.commands.errors import clear_errors
from guardrail.commands.oracle import oracle_app
from guardrail.errors import ImageError
from guardrail.version import __version__

if TYPE_CHECKING:
    from guardrail.images.pictures import InputImage
    from guardrail.settings import Settings

app = typer.Typer(
    name="guardrail",
    help="Certified safety verdicts on the image inputs of chat applications.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(oracle_app, name="oracle")
app.add_typer(audit, name="audit")
app.add_typer(override, name="override")


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
    from guardrail.commands.demo import run

    with clear_errors():
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
    oracle_error: Annotated[
        Path | None, typer.Option(help="What `guardrail oracle evaluate` wrote about this oracle.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; GUARDRAIL_* variables win.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON.")] = False,
) -> None:
    """Certify the verdict on a request; by the bundled model unless settings name another.

    Exit status: 0 for a certified class other than harmful, 1 for harmful, 3 for an abstention, 2 for an error.
    """
    from guardrail.certify.certificate import Verdict
    from guardrail.certify.smoothing import SmoothedClassifier
    from guardrail.commands.certificate_text import sentence, table

    with clear_errors():
        settings = _settings(config, quiet=as_json)
        if oracle_error is not None:
            settings = settings.model_copy(update={"oracle_error": oracle_error})
        smoothing = settings.make_smoothing(sigma=sigma, samples=samples, alpha=alpha, target_radius=target_radius)
        pictures = _pictures(images)  # before the model, which takes seconds to load
        classifier = SmoothedClassifier(settings.make_model(), settings.make_oracle(), smoothing)
        if waste := classifier.unreachable_target(smoothing.target_radius):
            typer.echo(f"warning: {waste}", err=True)
        start = time.perf_counter()
        certificate = classifier.certify(pictures, prompt)
        seconds = time.perf_counter() - start
    if as_json:
        typer.echo(certificate.model_dump_json(indent=2))
    else:
        typer.echo(sentence(certificate, seconds))
        Console().print(table(certificate))
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
    from guardrail.commands import plan as planning

    with clear_errors():
        distribution = planning.distribution(sample=sample, uniform=uniform, beta=beta)
        if sample is None and uniform is None and beta is None:
            typer.echo("Assuming p uniform on [1/2, 1), as the paper does; give --sample for your own images.")
        planning.report(Console(), target_radius, sigma, alpha, distribution, share=share, out=out)


@app.command()
def evaluate(  # noqa: PLR0917 - typer reads options from the signature
    source: Annotated[
        Path | None,
        typer.Argument(help="CSV file with the columns image, prompt, label; or a folder of harmful/ and harmless/."),
    ] = None,
    bundled: Annotated[
        int | None, typer.Option(min=1, help="Draw this many signs of the bundled model's world instead.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What users ask, for images without a prompt.")] = None,
    sigma: Annotated[
        list[float] | None, typer.Option(help="Noise level; may be given several times. Default: the settings'.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Draws per image.")] = None,
    denoise: Annotated[bool, typer.Option("--denoise", help="Put the bundled denoiser before the model.")] = False,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999_999, help="Of each interval.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the choice of bundled signs.")] = 0,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; GUARDRAIL_* variables win.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the record and the plot.")] = Path("guardrail-evaluation"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")] = False,
) -> None:
    """Measure what the guard sees under noise: harmful images caught, harmless passed, illegible, abstained."""
    from guardrail.errors import ConfigurationError
    from guardrail.measuring import evaluation

    with clear_errors():
        if (source is None) == (bundled is None):
            raise ConfigurationError("give labelled images (a folder or CSV file) or --bundled N, one of the two")
        settings = _settings(config, quiet=as_json)
        if bundled is not None:
            labelled, data = evaluation.bundled_signs(bundled, seed), f"{bundled} held-out signs, seed {seed}"
        else:
            assert source is not None  # noqa: S101 - for the type checker
            labelled, data = evaluation.read_labelled(source, prompt), source.name
        model = settings.make_model()
        if denoise:
            from guardrail.bundled.denoiser import denoised

            model = denoised(model)
        record = evaluation.report(
            Console(stderr=as_json, quiet=as_json),
            model,
            settings.make_oracle(),
            labelled,
            [settings.make_smoothing(sigma=s, samples=samples) for s in sigma or [settings.smoothing.sigma]],
            data=data,
            out=out,
            target_radius=settings.policy.min_radius if settings.smoothing.target_radius is None else None,
            confidence=confidence,
        )
    if as_json:
        typer.echo(record.model_dump_json(indent=2))


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; GUARDRAIL_* variables win.")] = None,
    record: Annotated[
        Path | None, typer.Option("--evaluation", help="Record of `guardrail evaluate` for this guard.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time to spend on measuring draws per second.")] = 2.0,
) -> None:
    """Check this installation: libraries, device, model, speed, recall, Redis. Exit status 1 if something is wrong."""
    from guardrail.commands.doctor import examine, report

    with clear_errors():
        healthy = report(Console(), examine(config, record=record, seconds=seconds))
    raise typer.Exit(0 if healthy else 1)


def _settings(config: Path | None, *, quiet: bool) -> Settings:
    """Read the settings; the bundled model where they name none."""
    from guardrail.settings import Settings

    settings = Settings.load(config)
    if settings.model is not None:
        return settings
    if not quiet:
        typer.echo("no model is configured: using the bundled one, which reads signs only", err=True)
    return settings.model_copy(update={"model": "bundled"})


def _pictures(files: Sequence[str]) -> list[InputImage]:
    """Read the images; an error names the file."""
    from guardrail.images.pictures import InputImage, list_sources

    pictures = []
    for file in list_sources(files):
        try:
            pictures.append(InputImage.load(file))
        except ImageError as error:
            raise error if str(file) in str(error) else type(error)(f"{file!s:.80}: {error}") from error
    return pictures


if __name__ == "__main__":
    app()
