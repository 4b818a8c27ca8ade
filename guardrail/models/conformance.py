"""Does a model answer a draw by that draw alone? Certificates rest on it; for one's own tests and `guardrail doctor`.

Draws are independent, and the same alone and together, or their counts mean nothing. What breaks that is seldom seen:
padding to the widest of a batch, kernels chosen by shape, state between calls, answers in the order of arrival.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from guardrail.certify.noise import NoiseStream
from guardrail.certify.resize import resize
from guardrail.errors import GuardrailError, ModelError
from guardrail.images.pictures import ImageSource, InputImage
from guardrail.models.base import Answer, Draw, ModelFacts, ModelTraits, VisionLanguageModel
from guardrail.prompts import Prompt
from guardrail.visible import is_blank

Status = Literal["ok", "note", "warning", "problem"]
_Pictures: TypeAlias = "list[NDArray[np.float64]]"

PROMPTS = ("?", "Follow the sign.", "What is written here, and what else is to be seen in this picture? Be brief.")
"""Of several lengths, so that a batch has to be filled up."""
_HANGS = "requests can hang: let draws fail that are not begun by then"
_STREAM = NoiseStream.derive(b"the noise of the conformance check", b"conformance", "estimation")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    check: str
    told: str
    """What was found, with counts."""
    status: Status = "ok"
    """`problem`: no certificate of this model means anything; `warning`: it does, with a reservation."""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class ModelConformance:
    """What a model was found to do."""

    model: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether none of the findings is a problem."""
        return all(finding.status != "problem" for finding in self.findings)

    def require(self) -> None:
        """Raise if there is a problem, for a test of one's own model.

        Raises:
            ModelError: it tells all findings.
        """
        if not self.passed:
            raise ModelError(f"model does not conform: {self}")

    def __getitem__(self, check: str) -> Finding:
        return next(finding for finding in self.findings if finding.check == check)

    def __str__(self) -> str:
        lines = (f"{f.status}: {f.check}: {f.told}{f' ({f.advice})' if f.advice else ''}" for f in self.findings)
        return "\n".join((self.model, *lines))


def check_model(
    model: VisionLanguageModel,
    pictures: Sequence[ImageSource] = (),
    prompts: Sequence[str] = PROMPTS,
    *,
    draws: int = 30,
    batch: int = 8,
    sigma: float = 0.25,
) -> ModelConformance:
    """Ask a model about the same draws alone, in batches, shuffled, and twice, and compare its answers.

    Every draw is asked four times, and three once more. Draws are of all pictures and prompts in turn, and of two
    pictures at once where the model takes two. In a test of a model of your own: `check_model(model).require()`.

    Args:
        model: any that fits the protocol.
        pictures: what it is asked about; none: lines of text and a rough picture, drawn here.
        prompts: what it is asked.
        draws: how many.
        batch: how many of them together.
        sigma: standard deviation of the noise, in units of pixel values in [0, 1].

    Raises:
        ImageError: a picture that cannot be read.
        ModelError: fewer than 2 draws or draws per batch, or no prompt.
    """
    if draws < 2 or batch < 2 or not prompts:
        raise ModelError(f"comparing takes prompts, 2 draws and batches of 2 at least, got {draws} and {batch}")
    shown = [_at(model.resolution, InputImage.load(picture)) for picture in pictures] or _drawn(model.resolution)
    name = model.name
    try:
        findings = tuple(_findings(model, _draws(model, shown, prompts, draws, sigma), batch))
    except _BrokenError as broken:
        findings = (Finding("answers", str(broken), "problem", "give an Answer to each draw, in order"),)
    except GuardrailError as error:
        findings = (Finding("answers", f"none: {error}", "problem", "try what it takes, or mend it"),)
    except Exception as error:  # noqa: BLE001 - a model may raise anything
        told = f"none: {type(error).__name__}: {error}"
        findings = (Finding("answers", told, "problem", "a draw that failed is an Answer, and no exception"),)
    if model.name != name or not name:
        told = f"{name!r}, then {model.name!r}"
        findings += (Finding("name", told, "problem", "name all that answers depend on, for good"),)
    return ModelConformance(name, findings)


def _findings(model: VisionLanguageModel, asked: Sequence[Draw], batch: int) -> Iterator[Finding]:
    dtype, traits = ModelFacts.of(model).dtype or "not told", ModelTraits.of(model)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(asked)).tolist()
    alone, together, again = (_answers(model, asked, size) for size in (1, batch, batch))
    mixed = dict(zip(order, _answers(model, [asked[i] for i in order], len(asked)), strict=True))
    shuffled = [answer for _, answer in sorted(mixed.items())]
    late = _answers(model, asked[:3], 3, deadline=time.monotonic() - 1.0)
    yield Finding("dtype", dtype + (", in which answers may depend on their batch" if traits.batch_dependent else ""))
    yield _variety(alone)
    yield _compared("batched", f"alone and in batches of {batch}", alone, together, traits.repeatable)
    yield _compared("shuffled", "alone and shuffled, all in one call", alone, shuffled, traits.repeatable)
    yield _compared("twice", f"in the same batches of {batch} a second time", together, again, traits.repeats_draws)
    yield from _without_answer(alone, traits)
    yield _kept(late)


class _BrokenError(Exception):
    """What came back is not an answer to each draw."""


def _answers(
    model: VisionLanguageModel, asked: Sequence[Draw], batch: int, deadline: float | None = None
) -> list[Answer]:
    answers: list[Answer] = []
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        given = model.answer(part, deadline)
        if len(given) != len(part):
            raise _BrokenError(f"{len(given)} answers to {len(part)} draws")
        if odd := [answer for answer in given if not isinstance(answer, Answer)]:
            raise _BrokenError(f"a {type(odd[0]).__name__} where an Answer belongs")
        answers += given
    return answers


def _compared(check: str, ways: str, first: list[Answer], second: list[Answer], promised: bool) -> Finding:
    ours, theirs = ([(answer.text, answer.failed) for answer in answers] for answers in (first, second))
    different = sum(a != b for a, b in zip(ours, theirs, strict=True))
    told = f"{different} of {len(ours)} draws answered differently {ways}"
    if not different:
        return Finding(check, told)
    if Counter(ours) == Counter(theirs) and (promised or 2 * len(set(ours)) > len(ours)):  # else it may be chance
        return Finding(check, f"{told}: the same answers in another order", "problem", "answer draws in their order")
    if not promised:
        return Finding(check, told, "warning", "as it says of itself: certificates repeat in the same batches at most")
    advice = "let a draw's answer depend on nothing but that draw: not on padding, on state or on a clock"
    if check != "twice":
        advice += "; if it is rounding, compute in float32, or say batch_dependent = True"
    return Finding(check, told, "problem", advice)


def _variety(answers: list[Answer]) -> Finding:
    different = len({answer.text for answer in answers})
    told = f"{different} different ones to {len(answers)} draws"
    if different > 1:
        return Finding("answers", told)
    return Finding("answers", told, "warning", "equal answers show nothing: give pictures that it tells apart")


def _without_answer(answers: list[Answer], traits: ModelTraits) -> Iterator[Finding]:
    blank = sum(answer.failed is None and is_blank(answer.text) for answer in answers)
    told = f"{blank} of {len(answers)} answers hold no visible character"
    if traits.blank_is_finding:
        yield Finding("blank", f"{told}: a finding, as it says of itself")
    else:
        advice = "such a draw has failed, unless the model says blank_is_finding = True" if blank else ""
        yield Finding("blank", told, _grave(blank, len(answers)), advice)
    reasons = Counter(answer.failed for answer in answers if answer.failed is not None)
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    failed = f"{reasons.total()} of {len(answers)} draws{f' ({why})' if why else ''}"
    yield Finding("failed", failed, _grave(reasons.total(), len(answers)))


def _grave(count: int, total: int) -> Status:
    return "problem" if count == total else "warning" if count else "ok"


def _kept(late: Sequence[Answer]) -> Finding:
    kept = sum(answer.failed == "deadline" for answer in late)
    told = f"{kept} of {len(late)} draws failed by 'deadline' where it had passed"
    return Finding("deadline", told) if kept == len(late) else Finding("deadline", told, "warning", _HANGS)


def _draws(
    model: VisionLanguageModel, shown: _Pictures, prompts: Sequence[str], number: int, sigma: float
) -> list[Draw]:
    """Return draws of the requests that the model takes, in turn.

    Raises:
        GuardrailError: it takes none.
    """
    requests: list[tuple[tuple[NDArray[np.float64], ...], Prompt]] = []
    refusal: GuardrailError | None = None
    for pictures in (*((one,) for one in shown), (shown[0], shown[-1])):
        for text in prompts:
            prompt = Prompt.of(text, len(pictures))
            try:
                model.check(prompt, [picture.shape[:2] for picture in pictures])
                requests.append((pictures, prompt))
            except GuardrailError as error:
                refusal = refusal or error
    if not requests and refusal:
        raise refusal
    return [Draw(*requests[i % len(requests)], sigma, _STREAM, i) for i in range(number)]


def _at(resolution: tuple[int, int] | None, picture: InputImage) -> NDArray[np.float64]:
    return resize(picture.pixels, resolution or (picture.height, picture.width))


def _drawn(resolution: tuple[int, int] | None) -> _Pictures:
    """Return lines of text of several widths, and a rough picture."""
    return [
        _at(resolution, picture) for picture in (*map(_line, ("tea", "a cup of tea", "make tea, not war")), _rough())
    ]


def _line(text: str) -> InputImage:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (32 + 8 * len(text), 64), "white")
    ImageDraw.Draw(picture).text((16, 24), text, fill="black", font_size=14)
    return InputImage.load(picture)


def _rough() -> InputImage:
    return InputImage(np.random.Generator(np.random.PCG64(1)).integers(0, 256, (64, 96, 3), np.uint8))
