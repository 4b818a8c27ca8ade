"""`guardrail evaluate`: what a guard sees under noise, measured on labelled images."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from guardrail.certify.certificate import Certificate, Verdict
from guardrail.certify.options import Smoothing
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.commands.errors import output_folder
from guardrail.errors import ConfigurationError, ImageError, plainly
from guardrail.images.pictures import ImageSource, InputImage
from guardrail.measuring.recall import OUTCOMES, EvaluationRecord, Label, Level, Outcome, Share, tally
from guardrail.models.base import VisionLanguageModel
from guardrail.oracles.base import HARMFUL, ILLEGIBLE, Oracle

COLUMNS = ("image", "prompt", "label")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""Files of a labelled folder that are images."""
_COLOURS = {"harmful": "#b3261e", "harmless": "#3a7d44", "illegible": "#8a8a8a", "abstained": "#d8a13a"}
_WORDS: dict[Outcome, str] = {
    "harmful": "certified harmful (blocked)",
    "harmless": "certified otherwise (passed)",
    "illegible": "abstained: illegible",
    "abstained": "abstained",
}


@dataclass(frozen=True)
class LabelledImage:
    """An image, what the user asks about it, and whether that should be caught."""

    source: ImageSource
    prompt: str
    label: Label

    def load(self) -> InputImage:
        """Decode the image.

        Raises:
            ImageError: it cannot be read.
        """
        try:
            return InputImage.load(self.source)
        except ImageError as error:
            raise type(error)(f"labelled image {self.source!s}: {error}") from error


def read_labelled(source: Path, prompt: str | None = None) -> list[LabelledImage]:
    """Read labelled images.

    Args:
        source: CSV file with the columns image (a path, relative to the file), prompt and label (harmful or
            harmless); or a folder with such a `labels.csv`, or with folders `harmful` and `harmless` of images.
        prompt: for images without one of their own.

    Raises:
        ConfigurationError: nothing there, a column is missing, a label is unknown, or an image has no prompt.
    """
    if not source.exists():
        raise ConfigurationError(f"there is no file or folder {source} with labelled images")
    table = source / "labels.csv" if source.is_dir() else source
    labelled = list(_rows(table, prompt) if table.is_file() else _folders(source, prompt))
    if not labelled and table.is_file():
        raise ConfigurationError(f"{table} has no line below the names of its columns: list at least one image")
    if not labelled:
        raise ConfigurationError(
            f"no labelled images in {source}: give a CSV file with the columns {', '.join(COLUMNS)}, or a folder "
            "with folders 'harmful' and 'harmless'"
        )
    return labelled


def _rows(table: Path, prompt: str | None) -> Iterator[LabelledImage]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, found = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"cannot read {table} as CSV: {plainly(error)}") from error
    wanted = [column for column in COLUMNS if column != "prompt" or prompt is None]
    if not set(wanted) <= set(found):
        having = f"the columns {', '.join(found)}" if found else "no columns"
        instead = " (a prompt for all: --prompt)" if "prompt" in wanted else ""
        raise ConfigurationError(
            f"{table} has {having}, and needs {', '.join(wanted)}{instead}: "
            "name them in its first line, with commas between them"
        )
    for number, row in enumerate(rows, 2):
        image, label = row.get("image"), (row.get("label") or "").strip().lower()
        asked = row.get("prompt") or prompt
        if not image or not asked or label not in get_args(Label):
            raise ConfigurationError(
                f"{table}, line {number}: needs an image, a prompt (or --prompt) and a label harmful or harmless, "
                f"got image {image!r}, prompt {asked!r}, label {label!r}"
            )
        yield LabelledImage(table.parent / image, asked, "harmful" if label == "harmful" else "harmless")


def _folders(folder: Path, prompt: str | None) -> Iterator[LabelledImage]:
    for label in get_args(Label):
        files = sorted(path for path in (folder / label).rglob("*") if path.suffix.lower() in SUFFIXES)
        if files and prompt is None:
            raise ConfigurationError(f"the images in {folder} have no prompts: say what users ask with --prompt")
        yield from (LabelledImage(file, prompt or "", label) for file in files)


def bundled_signs(number: int, seed: int = 0) -> list[LabelledImage]:
    """Draw held-out signs of the bundled model's world, half of them such that following them is harmful.

    Args:
        number: of signs.
        seed: of their random choice.
    """
    import numpy as np

    from guardrail.bundled import signs, world

    rng = np.random.default_rng(seed)
    safe = tuple(word for word in world.WORDS if world.expected(word, "follow") == "harmless")
    prompt = world.PROMPTS["follow"][0]
    drawn: list[LabelledImage] = []
    for i in range(number):
        label: Label = "harmless" if i % 2 else "harmful"
        sign = signs.sample_sign(rng, "held_out", words=safe if i % 2 else world.COMPLIED_WORDS)
        drawn.append(LabelledImage(signs.draw_sign(sign, (384, 384)), prompt, label))
    return drawn


def outcome(certificate: Certificate) -> Outcome:
    """Say what became of an image."""
    if certificate.verdict is Verdict.HARMFUL:
        return "harmful"
    if certificate.verdict is not Verdict.ABSTAIN:
        return "harmless"
    counts = certificate.counts
    return "illegible" if counts and max(counts, key=lambda c: counts[c]) == ILLEGIBLE else "abstained"


def evaluate(
    model: VisionLanguageModel,
    oracle: Oracle,
    labelled: Sequence[LabelledImage],
    smoothings: Sequence[Smoothing],
    *,
    data: str,
    target_radius: float | None = None,
    confidence: float = 0.95,
    progress: Callable[[], None] = lambda: None,
) -> EvaluationRecord:
    """Certify every labelled image at every noise level, and count what becomes of them.

    Args:
        model: what is smoothed.
        oracle: sorts its answers; it must know harmful ones.
        labelled: independent images of the population that the guard will meet; for recall, those that are held out
            from every choice about model and oracle.
        smoothings: one per noise level.
        data: name of the data set.
        target_radius: radius at which drawing stops, as for `SmoothedClassifier.certify`: a guard's is its policy's
            `min_radius`.
        confidence: of each interval.
        progress: called after each certificate.

    Raises:
        ConfigurationError: no image, no noise level, an oracle without the class `harmful`, or the same picture and
            prompt twice: copies are not independent, and would make the intervals too narrow.
        ImageError: an image that cannot be read; found before the first draw.
        PromptError, ModelError, OracleError: as for `SmoothedClassifier.certify`.
    """
    if not labelled or not smoothings:
        raise ConfigurationError("an evaluation needs at least one labelled image and one noise level")
    if HARMFUL not in oracle.classes:
        raise ConfigurationError(f"oracle {oracle.name} knows no harmful answers, only {oracle.classes}: use another")
    _require_distinct(labelled)
    digest = _digest(labelled)
    levels = []
    for smoothing in smoothings:
        classifier = SmoothedClassifier(model, oracle, smoothing)
        counts: dict[Label, Counter[Outcome]] = {"harmful": Counter(), "harmless": Counter()}
        for item in labelled:
            certificate = classifier.certify([item.load()], item.prompt, target_radius)
            counts[item.label][outcome(certificate)] += 1
            progress()
        levels.append(
            Level(
                sigma=smoothing.sigma,
                samples=smoothing.samples,
                alpha=smoothing.alpha,
                target_radius=smoothing.target_radius if target_radius is None else target_radius,
                confidence=confidence,
                counts=tally(counts),
            )
        )
    return EvaluationRecord(model=model.name, oracle=oracle.name, data=data, data_sha256=digest, levels=tuple(levels))


def _require_distinct(labelled: Sequence[LabelledImage]) -> None:
    """Refuse a picture that is listed twice with one prompt, under one label or under two.

    Raises:
        ConfigurationError: there is one.
    """
    seen: dict[tuple[str, str], int] = {}
    for number, item in enumerate(labelled, 1):
        first = seen.setdefault((item.load().sha256, item.prompt), number)
        if first != number:
            raise ConfigurationError(
                f"labelled images number {first} and {number} are the same picture with the same prompt "
                f"{item.prompt[:60]!r}: list each once"
            )


def _digest(labelled: Sequence[LabelledImage]) -> str:
    """Hash images, prompts and labels, whatever their order and file names."""
    lines = sorted(f"{item.load().sha256} {item.label} {item.prompt!r}" for item in labelled)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def report(
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

    Arguments and errors as `evaluate`; a ConfigurationError also where `out` cannot be written to.
    """
    output_folder(out)
    for smoothing in smoothings:
        target = smoothing.target_radius if target_radius is None else target_radius
        if waste := SmoothedClassifier(model, oracle, smoothing).unreachable_target(target):
            console.print(f"warning: {waste}")
    columns = (TextColumn("certifying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=len(labelled) * len(smoothings))
        record = evaluate(
            model,
            oracle,
            labelled,
            smoothings,
            data=data,
            target_radius=target_radius,
            confidence=confidence,
            progress=lambda: bar.advance(task),
        )
    record.save(out / "evaluation.json")
    plot(record, out / "evaluation.png")
    console.print(
        f"model   {record.model}\noracle  {record.oracle}\ndata    {record.data} {record.data_sha256[:12]}", ""
    )
    console.print(_table(record))
    console.print(
        f"\nOf each label's images: count, and two-sided {confidence:.0%} interval (Clopper–Pearson). Caught: "
        "certified harmful. Passed: certified as another class. What is neither abstained, which a guard blocks by "
        "default. The intervals hold for images like these, not for those that an attacker picks."
    )
    console.print(f"Record: {out / 'evaluation.json'}   Plot: {out / 'evaluation.png'}")
    return record


def _table(record: EvaluationRecord) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("σ", justify="right")
    for name in ("images", "caught", "passed", "illegible", "abstained"):
        table.add_column(name, no_wrap=True)
    for level in record.levels:
        for label in get_args(Label):
            shares = {o: level.share(label, o) for o in OUTCOMES}
            wrong: Outcome = "harmless" if label == "harmful" else "harmful"
            colours = {label: "green", wrong: "red"}
            cells = (f"[{colours.get(o, 'default')}]{_shown(share)}[/]" for o, share in shares.items())
            table.add_row(f"{level.sigma:g}", f"{shares[label].total} {label}", *cells)
    return table


def _shown(share: Share) -> str:
    return f"{share.count} ({100 * share.lower:.0f}–{100 * share.upper:.0f} %)" if share.total else "–"


def plot(record: EvaluationRecord, path: Path) -> None:
    """Draw what became of the images, by noise level, with the interval of what should have happened."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    places = list(range(len(record.levels)))
    for axis, label in zip(axes, get_args(Label), strict=True):
        bottom = [0.0] * len(places)
        wrong: Outcome = "harmless" if label == "harmful" else "harmful"
        for o in (label, "illegible", "abstained", wrong):
            heights = [level.share(label, o).share for level in record.levels]
            axis.bar(places, heights, bottom=bottom, width=0.62, color=_COLOURS[o], label=_WORDS[o])
            bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
        right = [level.share(label, label) for level in record.levels]
        errors = [[s.share - s.lower for s in right], [s.upper - s.share for s in right]]
        axis.errorbar(places, [s.share for s in right], errors, fmt="none", ecolor="black", capsize=4, linewidth=1.2)
        total = right[0].total
        axis.set_title(f"{total} {label} images" if total else f"no {label} image", fontsize=11)
        axis.set_xticks(places, [f"{level.sigma:g}" for level in record.levels])
        axis.set_xlabel("σ")
        axis.set_ylim(0.0, 1.0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of images")
    handles, names = axes[0].get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda i: list(_WORDS.values()).index(names[i]))
    figure.legend(
        [handles[i] for i in order], [names[i] for i in order], loc="outside lower center", ncols=4, fontsize=9
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
