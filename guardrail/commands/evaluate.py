"""`guardrail evaluate`: what the guard sees under noise, as a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.text import Text

from guardrail.certify.options import Smoothing
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.commands import look
from guardrail.commands.errors import Force, clear_errors, output_file, output_folder, warn_of_unreachable_target
from guardrail.commands.settings import AppDir, Config, settings_or_bundled
from guardrail.errors import ConfigurationError
from guardrail.measuring.evaluation import LabelledImage, bundled_signs, left_out, read_labelled_images
from guardrail.measuring.evaluation import evaluate as measure
from guardrail.measuring.recall import OUTCOMES, EvaluationRecord, Label, Outcome, Share
from guardrail.models.base import VisionLanguageModel
from guardrail.oracles.base import Oracle

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.table import Table

_WORDS: dict[Outcome, str] = {
    "harmful": "certified harmful (blocked)",
    "harmless": "certified otherwise (passed)",
    "illegible": "abstained: illegible",
    "abstained": "abstained",
}


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
    config: Config = None,
    app_dir: AppDir = None,
    out: Annotated[Path, typer.Option(help="Folder for the record and the plot.")] = Path("guardrail-evaluation"),
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")] = False,
) -> None:
    """Measure what the guard sees under noise: harmful images caught, harmless passed, illegible, abstained."""
    with clear_errors():
        if (source is None) == (bundled is None):
            raise ConfigurationError("give labelled images (a folder or CSV file) or --bundled N, one of the two")
        output_file(out / "evaluation.json", replace=force)
        settings = settings_or_bundled(config, app_dir, quiet=as_json)
        if bundled is not None:
            labelled, data = bundled_signs(bundled, seed), f"{bundled} held-out signs, seed {seed}"
        else:
            assert source is not None  # noqa: S101 - for the type checker
            labelled, data = read_labelled_images(source, prompt), source.name
            if others := left_out(source):
                first = look.printable(others[0].name)
                typer.echo(f"warning: left out {len(others)} file(s) not named as images are, first {first}", err=True)
        model = settings.make_model()
        if denoise:
            from guardrail.bundled.denoiser import denoised

            model = denoised(model)
        record = evaluate_and_show(
            look.console(quiet=as_json),
            model,
            settings.make_measurable_oracle(),
            labelled,
            [settings.make_smoothing(sigma=s, samples=samples) for s in sigma or [settings.smoothing.sigma]],
            data=data,
            out=out,
            target_radius=settings.policy.min_radius if settings.smoothing.target_radius is None else None,
            confidence=confidence,
        )
    if as_json:
        typer.echo(record.to_json(), nl=False)


def evaluate_and_show(
    console: Console,
    model: VisionLanguageModel,
    oracle: Oracle,
    labelled: Sequence[LabelledImage],
    smoothings: Sequence[Smoothing],
    *,
    data: str,
    out: Path,
    target_radius: float | None = None,
    confidence: float = 0.95,
) -> EvaluationRecord:
    """Evaluate with a progress bar, print a table, and write `evaluation.json` and `evaluation.png` under `out`.

    Arguments and errors as `guardrail.measuring.evaluation.evaluate`; a ConfigurationError also where `out` cannot be
    written to.
    """
    output_folder(out)
    for smoothing in smoothings:
        target = smoothing.target_radius if target_radius is None else target_radius
        warn_of_unreachable_target(SmoothedClassifier(model, oracle, smoothing), target)
    with look.progress(console, "certifying") as show_progress:
        record = measure(
            model,
            oracle,
            labelled,
            smoothings,
            data=data,
            target_radius=target_radius,
            confidence=confidence,
            progress=show_progress,
        )
    record.save(out / "evaluation.json")
    look.save(plot(record), out / "evaluation.png")
    console.print(f"model   {record.model}\noracle  {record.oracle}\ndata    {record.data} {record.data_sha256[:12]}\n")
    console.print(_table(record))
    console.print(
        f"\nOf each label's images: count, and two-sided {confidence:.0%} interval (Clopper–Pearson). Caught: "
        "certified harmful. Passed: certified as another class. What is neither abstained, which a guard blocks by "
        "default. The intervals hold for images like these, not for those that an attacker picks."
    )
    console.print(f"Record: {out / 'evaluation.json'}   Plot: {out / 'evaluation.png'}")
    return record


def _table(record: EvaluationRecord) -> Table:
    table = look.table("σ", "images", "caught", "passed", "illegible", "abstained", right=("σ",))
    for level in record.levels:
        for label in get_args(Label):
            shares = {o: level.share(label, o) for o in OUTCOMES}
            wrong: Outcome = "harmless" if label == "harmful" else "harmful"
            styles = {label: "green", wrong: "red"}
            cells = (Text(_shown(share), style=styles.get(o, "")) for o, share in shares.items())
            table.add_row(f"{level.sigma:g}", f"{shares[label].total} {label}", *cells)
    return table


def _shown(share: Share) -> str:
    return f"{share.count} ({look.interval(share, digits=0)})" if share.total else "–"


def plot(record: EvaluationRecord) -> Figure:
    """Draw what became of the images, by noise level, with the interval of what should have happened."""
    figure, (axes,) = look.figure(10.0, 4.2, share_y=True)
    places = list(range(len(record.levels)))
    for axis, label in zip(axes, get_args(Label), strict=True):
        bottom = [0.0] * len(places)
        wrong: Outcome = "harmless" if label == "harmful" else "harmful"
        for o in (label, "illegible", "abstained", wrong):
            heights = [level.share(label, o).share for level in record.levels]
            axis.bar(places, heights, bottom=bottom, width=0.62, color=look.COLOURS[o], label=_WORDS[o])
            bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
        right = [level.share(label, label) for level in record.levels]
        shares, bars = [s.share for s in right], look.error_bars(right)
        axis.errorbar(places, shares, bars, fmt="none", ecolor="black", capsize=4, linewidth=1.2)
        total = right[0].total
        axis.set_title(f"{total} {label} images" if total else f"no {label} image", fontsize=11)
        axis.set_xticks(places, [f"{level.sigma:g}" for level in record.levels])
        axis.set_xlabel("σ")
        axis.set_ylim(0.0, 1.0)
    axes[0].set_ylabel("share of images")
    handles, names = axes[0].get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda i: list(_WORDS.values()).index(names[i]))
    figure.legend(
        [handles[i] for i in order], [names[i] for i in order], loc="outside lower center", ncols=4, fontsize=9
    )
    return figure
