"""The conformance check finds models whose answers depend on anything but their draw, and passes those that conform."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from guardrail.errors import ModelError, PromptError, TooManyImagesError
from guardrail.models import Answer, BundledVLM, DenoisedVLM, Draw, check_model
from guardrail.models.base import ModelFacts, Sizes, VisionLanguageModel
from guardrail.models.scheduling import Scheduler
from guardrail.prompts import Prompt

CHECKS = {"dtype", "answers", "batched", "shuffled", "twice", "blank", "failed", "deadline"}


@dataclass
class Reader:
    """Says how bright each picture is, at the width that it has in its batch; a subclass has one fault."""

    name: str = "reader"
    resolution: tuple[int, int] | None = None
    facts: ModelFacts = field(default_factory=lambda: ModelFacts("float32"))
    most_images: int = 2

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        if len(sizes) > self.most_images:
            raise TooManyImagesError("too many")

    def read(self, draws: Sequence[Draw]) -> list[str]:
        return [f"{sum(float(image.mean()) for image in draw.images()):.4f}" for draw in draws]

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        if deadline is not None and time.monotonic() >= deadline:
            return [Answer.failure("deadline")] * len(draws)
        return [Answer(text) for text in self.read(draws)]


class Padded(Reader):
    """Widens each picture to the widest of the batch."""

    def read(self, draws: Sequence[Draw]) -> list[str]:
        widest = max(width for draw in draws for _, width in draw.sizes)
        return [f"{sum(float(image.sum()) / (64 * widest) for image in draw.images()):.4f}" for draw in draws]


class TextPadded(Reader):
    """Pads prompts, and reads the padding."""

    def read(self, draws: Sequence[Draw]) -> list[str]:
        longest = max(len(draw.prompt.text) for draw in draws)
        return [f"{float(d.images()[0].mean()):.3f} {longest - len(d.prompt.text)}" for d in draws]


class BatchStatistics(Reader):
    """A network that was left in training mode."""

    def read(self, draws: Sequence[Draw]) -> list[str]:
        means = np.array([draw.images()[0].mean() for draw in draws])
        return [f"{value:.3f}" for value in means - means.mean()]


class Shared(Reader):
    """Samples from one state for all draws."""

    coins = np.random.Generator(np.random.PCG64(0))

    def read(self, draws: Sequence[Draw]) -> list[str]:
        return [str(self.coins.integers(100)) for _ in draws]


class Clocked(Reader):
    """Writes when it was asked."""

    ticks = itertools.count()

    def read(self, draws: Sequence[Draw]) -> list[str]:
        return [f"{text} at {next(self.ticks)}" for text in super().read(draws)]


class Remembering(Reader):
    """Begins with what it said last."""

    last = ""

    def read(self, draws: Sequence[Draw]) -> list[str]:
        texts = super().read(draws)
        said, self.last = [f"{self.last} {texts[0]}", *texts[1:]], texts[-1]
        return said


class FirstCome(Reader):
    """Gives answers in the order in which they are ready."""

    def read(self, draws: Sequence[Draw]) -> list[str]:
        return sorted(super().read(draws))


class Reversed(Reader):
    def read(self, draws: Sequence[Draw]) -> list[str]:
        return super().read(draws)[::-1]


FAULTS: dict[type[Reader], set[str]] = {
    Padded: {"batched", "shuffled"},
    TextPadded: {"batched", "shuffled"},
    BatchStatistics: {"batched", "shuffled"},
    Shared: {"batched", "shuffled", "twice"},
    Clocked: {"batched", "shuffled", "twice"},
    Remembering: {"batched", "shuffled"},
    FirstCome: {"batched", "shuffled"},
    Reversed: {"batched", "shuffled"},
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_model_whose_answers_depend_on_more_than_their_draw(kind: type[Reader]) -> None:
    found = check_model(kind())
    assert {finding.check for finding in found.findings if finding.status == "problem"} == FAULTS[kind], found
    assert not found.passed
    with pytest.raises(ModelError, match=r"(?s)model does not conform: reader\n.*problem: batched: "):
        found.require()
    assert ("in another order" in found["batched"].told) is (kind in {FirstCome, Reversed})


class Coins(Shared):
    """Samples yes or no, and says that it cannot repeat it."""

    repeats_draws = False

    def read(self, draws: Sequence[Draw]) -> list[str]:
        return ["yes" if coin < 0.5 else "no" for coin in self.coins.random(len(draws))]


def test_as_often_yes_as_before_is_no_other_order() -> None:
    found = [check_model(Coins(), draws=4, batch=2) for _ in range(20)]
    assert not [one for one in found for finding in one.findings if finding.status == "problem"]


def test_it_is_said_in_words_with_counts() -> None:
    told = str(check_model(Padded(), draws=20, batch=4))
    assert "of 20 draws answered differently alone and in batches of 4" in told
    assert "\nproblem: shuffled: " in told
    assert "batch_dependent = True" in told


@pytest.mark.parametrize("around", [lambda m: m, Scheduler, lambda m: DenoisedVLM(m, lambda x, _: x, "none")])
@pytest.mark.parametrize("options", [{}, {"resolution": (24, 40)}, {"most_images": 1}])
def test_a_model_that_conforms(around: Callable[[Reader], VisionLanguageModel], options: dict[str, Any]) -> None:
    found = check_model(around(Reader(**options)))
    assert {finding.status for finding in found.findings} == {"ok"}, found
    found.require()
    assert {finding.check for finding in found.findings} == CHECKS
    assert found["dtype"].told == "float32"
    assert found["answers"].told.endswith(" different ones to 30 draws")


@pytest.mark.slow
def test_the_bundled_model_conforms() -> None:
    found = check_model(BundledVLM(device="cpu"), draws=6, batch=3)
    assert {finding.status for finding in found.findings} == {"ok"}, found


def test_what_a_model_says_of_itself_is_no_problem() -> None:
    padded, shared = Padded(), Shared()
    padded.batch_dependent, shared.repeats_draws = True, False  # type: ignore[attr-defined]
    for model, checks in ((padded, {"batched", "shuffled"}), (shared, {"batched", "shuffled", "twice"})):
        found = check_model(model)
        assert found.passed, found
        assert {finding.check for finding in found.findings if finding.status == "warning"} == checks


def test_batches_alone_excuse_no_state() -> None:
    model = Clocked()
    model.batch_dependent = True  # type: ignore[attr-defined]
    found = check_model(model)
    assert found["twice"].status == "problem"
    assert "may depend on their batch" in found["dtype"].told


class TestAnswers:
    def found(self, change: Callable[[list[Answer]], Any], **said: Any) -> dict[str, str]:
        class Changed(Reader):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                answers: list[Answer] = change(super().answer(draws, deadline))
                return answers

        model = Changed()
        for name, value in said.items():
            setattr(model, name, value)
        return {f.check: f"{f.status}: {f.told}" for f in check_model(model).findings}

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda answers: answers[1:], "0 answers to 1 draws"),
            (lambda answers: [*answers, *answers], "2 answers to 1 draws"),
            (lambda answers: answers[:7], "7 answers to 8 draws"),
            (lambda answers: [a.text for a in answers], "a str where an Answer belongs"),
            (lambda answers: [None] * len(answers), "a NoneType where an Answer belongs"),
            (lambda answers: 1 / 0, "none: ZeroDivisionError: division by zero"),
        ],
    )
    def test_not_one_answer_a_draw(self, change: Callable[[list[Answer]], Any], told: str) -> None:
        assert self.found(change)["answers"] == f"problem: {told}"

    def test_blank_ones(self) -> None:
        def some(answers: list[Answer]) -> list[Answer]:
            return [replace(a, text="\u200b ") if a.text[-1:] in set("02468") else a for a in answers]

        def every(answers: list[Answer]) -> list[Answer]:
            return [replace(answer, text="") for answer in answers]

        assert self.found(some)["blank"].startswith("warning: ")
        assert self.found(every)["blank"] == "problem: 30 of 30 answers hold no visible character"
        assert self.found(every, blank_is_finding=True)["blank"].startswith("ok: 30 of 30")

    def test_failed_ones(self) -> None:
        def some(answers: list[Answer]) -> list[Answer]:
            return [Answer.failure("filtered") if a.text[-1:] in {"1", "3"} else a for a in answers]

        assert "(filtered " in self.found(some)["failed"]
        assert self.found(some)["failed"].startswith("warning: ")
        every = self.found(lambda answers: [Answer.failure("filtered")] * len(answers))
        assert every["failed"] == "problem: 30 of 30 draws (filtered 30)"

    def test_equal_ones_show_nothing(self) -> None:
        found = self.found(lambda answers: [replace(a, text="tea") for a in answers])
        assert found["answers"] == "warning: 1 different ones to 30 draws"

    def test_a_deadline_that_is_not_kept(self) -> None:
        class Late(Reader):
            def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
                return super().answer(draws)

        found = check_model(Late())
        assert (found["deadline"].status, found.passed) == ("warning", True)

    def test_a_name_that_changes(self) -> None:
        class Renamed(Reader):
            def read(self, draws: Sequence[Draw]) -> list[str]:
                self.name += "'"
                return super().read(draws)

        assert check_model(Renamed())["name"].status == "problem"


class TestRequests:
    def test_none_that_the_model_takes(self) -> None:
        class Picky(Reader):
            def check(self, prompt: Prompt, sizes: Sizes) -> None:
                if "?" not in prompt.text or "please" not in prompt.text:
                    raise PromptError("say please")

        assert check_model(Picky())["answers"].told == "none: say please"
        assert check_model(Picky(), prompts=["What, please?", "And, please, what else?"]).passed

    def test_pictures_of_ones_own(self) -> None:
        seen = set[tuple[int, int]]()

        class Watching(Reader):
            def read(self, draws: Sequence[Draw]) -> list[str]:
                seen.update(size for draw in draws for size in draw.sizes)
                return super().read(draws)

        assert check_model(Watching(), [Image.new("RGB", (31, 17)), Image.new("L", (8, 9))]).passed
        assert seen == {(17, 31), (9, 8)}

    @pytest.mark.parametrize("wrong", [{"draws": 1}, {"batch": 1}, {"prompts": []}])
    def test_nothing_to_compare(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ModelError, match="at least"):
            check_model(Reader(), **wrong)


def test_the_noise_is_the_same_whatever_torch_was_told() -> None:
    """A caller's seeds play no part: two runs say the same."""
    torch.manual_seed(1)
    first = str(check_model(Padded()))
    torch.manual_seed(2)
    assert first == str(check_model(Padded()))
