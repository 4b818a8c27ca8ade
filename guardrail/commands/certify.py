"""`guardrail certify`: the verdict on one request, with its radius."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guardrail.commands.errors import clear_errors, warn_of_unreachable_target
from guardrail.commands.settings import AppDir, Config, settings_or_bundled
from guardrail.errors import ImageError

if TYPE_CHECKING:
    from guardrail.images.pictures import InputImage


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
    transfer: Annotated[
        bool | None,
        typer.Option("--transfer", help="Accept an oracle error measured on another model or population."),
    ] = None,
    config: Config = None,
    app_dir: AppDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON.")] = False,
) -> None:
    """Certify the verdict on a request; by the bundled model unless settings name another.

    Exit status: 0 for a certified class other than harmful, 1 for harmful, 3 for an abstention, 2 for an error.
    """
    from guardrail.certify.certificate import Verdict
    from guardrail.certify.smoothing import SmoothedClassifier
    from guardrail.commands import look
    from guardrail.commands.certificate_text import fields, sentence

    with clear_errors():
        settings = settings_or_bundled(config, app_dir, quiet=as_json)
        for own in settings.imported:
            typer.echo(f"{own.name}: {own.file or 'built into Python'}", err=True)
        if oracle_error is not None:
            settings = settings.model_copy(update={"oracle_error": oracle_error})
        smoothing = settings.make_smoothing(
            sigma=sigma, samples=samples, alpha=alpha, target_radius=target_radius, transfer=transfer
        )
        pictures = _pictures(images)  # before the model, which takes seconds to load
        classifier = SmoothedClassifier(settings.make_model(), settings.make_oracle(), smoothing)
        warn_of_unreachable_target(classifier, smoothing.target_radius)
        start = time.perf_counter()
        certificate = classifier.certify(pictures, prompt)
        seconds = time.perf_counter() - start
    if as_json:
        typer.echo(certificate.model_dump_json(indent=2))
    else:
        typer.echo(sentence(certificate, seconds))
        look.console().print(fields(certificate))
    raise typer.Exit({Verdict.HARMFUL: 1, Verdict.ABSTAIN: 3}.get(certificate.verdict, 0))


def _pictures(files: Sequence[str]) -> list[InputImage]:
    """Read the images; an error names the file."""
    from guardrail.images.limits import DEFAULT_LIMITS
    from guardrail.images.pictures import InputImage

    DEFAULT_LIMITS.check_count(len(files))
    pictures = []
    for file in files:
        try:
            pictures.append(InputImage.load(file))
        except ImageError as error:
            raise error if str(file) in str(error) else type(error)(f"{file!s:.300}: {error}") from error
    return pictures
