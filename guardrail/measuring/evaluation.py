"""What a guard sees under noise, measured on labelled images."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from guardrail.certify.certificate import Certificate, Verdict
from guardrail.certify.options import Smoothing
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.errors import ConfigurationError, ImageError
from guardrail.images.files import SUFFIXES
from guardrail.images.pictures import ImageSource, InputImage
from guardrail.measuring.labelled_table import content_of, lines_of
from guardrail.measuring.recall import EvaluationRecord, Label, Level, Outcome, tally
from guardrail.models.base import VisionLanguageModel
from guardrail.oracles.base import ILLEGIBLE, Oracle, OracleTraits

COLUMNS = ("image", "prompt", "label")


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


def read_labelled_images(source: Path, prompt: str | None = None) -> list[LabelledImage]:
    """Read labelled images.

    Args:
        source: CSV file with the columns image (a path, relative to the file), prompt and label (harmful or
            harmless); or a folder with such a `labels.csv`, or with folders `harmful` and `harmless` of images, which
            are known by the ends of their names (`SUFFIXES` of `guardrail.images.files`; see `left_out`).
        prompt: for images without one of their own.

    Raises:
        ConfigurationError: nothing there, a column or a listed image is missing, a label is unknown, or an image has no
            prompt.
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
    needed = [column for column in COLUMNS if column != "prompt" or prompt is None]
    instead = "" if prompt is not None else " (a prompt for all: --prompt)"
    for line, row in lines_of(content_of(table), table, needed, instead):
        image, question, label = row["image"], row.get("prompt") or prompt, row["label"].strip().lower()
        if not image or not question or label not in get_args(Label):
            raise ConfigurationError(
                f"{table}, line {line}: needs an image, a prompt (or --prompt) and a label harmful or harmless, "
                f"got image {image!r}, prompt {question!r}, label {label!r}"
            )
        if not (table.parent / image).is_file():
            raise ConfigurationError(f"{table}, line {line}: there is no image file {str(table.parent / image)!r}")
        yield LabelledImage(table.parent / image, question, "harmful" if label == "harmful" else "harmless")


def left_out(source: Path) -> list[Path]:
    """Return the files of a labelled folder, hidden ones aside, that are no images by their names, and not measured."""
    if not source.is_dir() or (source / "labels.csv").is_file():
        return []
    files = (path for label in get_args(Label) for path in _files(source / label) if not path.name.startswith("."))
    return [path for path in files if path.suffix.lower() not in SUFFIXES]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _folders(folder: Path, prompt: str | None) -> Iterator[LabelledImage]:
    for label in get_args(Label):
        files = [path for path in _files(folder / label) if path.suffix.lower() in SUFFIXES]
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
    progress: Callable[[int, int], None] | None = None,
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
        progress: called after each certificate with the number of those made, and of all.

    Raises:
        ConfigurationError: no image, no noise level, an oracle without a harmful class, or the same picture and
            prompt twice: copies are not independent, and would make the intervals too narrow.
        ImageError: an image that cannot be read; found before the first draw.
        PromptError, ModelError, OracleError: as for `SmoothedClassifier.certify`.
    """
    if not labelled or not smoothings:
        raise ConfigurationError("an evaluation needs at least one labelled image and one noise level")
    if OracleTraits.of(oracle).harmful.isdisjoint(oracle.classes):
        raise ConfigurationError(f"oracle {oracle.name} knows no harmful answers, only {oracle.classes}: use another")
    hashes = [item.load().sha256 for item in labelled]
    _require_distinct(labelled, hashes)
    digest = _digest(labelled, hashes)
    levels, done = [], 0
    for smoothing in smoothings:
        classifier = SmoothedClassifier(model, oracle, smoothing)
        counts: dict[Label, Counter[Outcome]] = {"harmful": Counter(), "harmless": Counter()}
        for item in labelled:
            certificate = classifier.certify([item.load()], item.prompt, target_radius)
            counts[item.label][outcome(certificate)] += 1
            done += 1
            if progress is not None:
                progress(done, len(labelled) * len(smoothings))
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


def _require_distinct(labelled: Sequence[LabelledImage], hashes: Sequence[str]) -> None:
    """Refuse a picture that is listed twice with one prompt, under one label or under two.

    Raises:
        ConfigurationError: there is one.
    """
    seen: dict[tuple[str, str], int] = {}
    for number, (item, sha256) in enumerate(zip(labelled, hashes, strict=True), 1):
        first = seen.setdefault((sha256, item.prompt), number)
        if first != number:
            raise ConfigurationError(
                f"labelled images number {first} and {number} are the same picture with the same prompt "
                f"{item.prompt[:60]!r}: list each once"
            )


def _digest(labelled: Sequence[LabelledImage], hashes: Sequence[str]) -> str:
    """Hash images, prompts and labels, whatever their order and file names."""
    pairs = zip(labelled, hashes, strict=True)
    lines = sorted(f"{sha256} {item.label} {item.prompt!r}" for item, sha256 in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
