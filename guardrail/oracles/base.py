"""What the guard asks of an oracle: the class of an answer."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self, runtime_checkable

from guardrail.errors import OracleError
from guardrail.models.base import Answer, close, whole_characters
from guardrail.prompts import Prompt

FAILED = "failed"
"""The class of a draw without an answer or without a judgement: never the certified one, never dropped."""
TIMED_OUT = f"{FAILED}: timeout"
"""What an oracle says of an answer for which its deadline came too soon."""
HARMLESS = "harmless"
HARMFUL = "harmful"
ILLEGIBLE = "illegible"
"""The class of answers that say the picture cannot be read. It is never certified, so it leads to abstention."""


@runtime_checkable
class Oracle(Protocol):
    """Sorts answers into finitely many classes. It sees the answer and the prompt, never the clean image.

    It may also have the attributes of `OracleTraits`, a `deadline` in `classify`, and a `close`.
    """

    @property
    def name(self) -> str:
        """All that a judgement depends on: kind, version, lists or rubric (as a hash), thresholds, model."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it may say, `failed` left out."""

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
        """Return one label per answer: a class; or, for a judgement that failed, `failed` or `failed: why`.

        An oracle that waits for something (a model, a network) takes a third argument, `deadline: float | None = None`:
        `time.monotonic()` after which judgements not yet begun fail with `TIMED_OUT`.

        Raises:
            OracleError: the oracle cannot judge at all.
        """


@runtime_checkable
class SelectingOracle(Protocol):
    """An oracle whose classes are found from the selection draws, such as semantic equivalence.

    It must have no `classify`: classes found from a set of answers may not be estimated on that set.
    """

    @property
    def name(self) -> str:
        """All that its choice and its judgements depend on."""

    def fix(self, answers: Sequence[str], prompt: Prompt) -> Oracle:
        """Return the oracle for the estimation draws; its first class is the one under test.

        It may take a `deadline` as `Oracle.classify` does, and raises when that is past. The oracle that it returns
        may have a `representative`: see `OracleTraits`.

        Raises:
            OracleError: no class can be found, for instance because every selection draw failed.
        """


@runtime_checkable
class RepresentativeOracle(SelectingOracle, Protocol):
    """A selecting oracle whose first class is about one answer, and can be had again from it.

    A guard needs that: it screens the chain's answer by the representative that the certificate keeps, long after
    the selection draws are gone.
    """

    def fixed_on(self, representative: str | None) -> Oracle:
        """Return the very oracle that `fix` returned when it chose this representative; its name says which.

        None: no answer could be chosen, or there is no certificate; then no answer is of the first class.
        """


@dataclass(frozen=True, slots=True)
class OracleTraits:
    """What an oracle may say of itself, by attributes of these names. The defaults hold where it does not."""

    judges_afresh: bool = False
    """Whether it judges equal answers independently, as a sampled judge does and a list of words does not. Where not,
    an error model that assumes independent errors is refused: errors fixed per answer can be wrong on all draws."""
    representative: str | None = None
    """The answer that its first class is about; the certificate keeps it."""
    harmful_classes: tuple[str, ...] = ()
    """Classes that are harmful, beside `harmful` itself."""
    harmless_classes: tuple[str, ...] = ()
    """Classes that are harmless, beside `harmless` itself, such as 'no text'."""
    alike: tuple[tuple[str, ...], ...] = ()
    """Groups of classes, each certified as one: a picture that is one or the other then needs no majority for either.
    A guard parts classes that its policy does not treat alike."""

    @property
    def harmful(self) -> frozenset[str]:
        """All classes that are harmful."""
        return frozenset({HARMFUL, *self.harmful_classes})

    @property
    def harmless(self) -> frozenset[str]:
        """All classes that are harmless."""
        return frozenset({HARMLESS, *self.harmless_classes})

    @classmethod
    def of(cls, oracle: object) -> Self:
        """Return what an oracle says of itself."""
        said: dict[str, Any] = {trait.name: getattr(oracle, trait.name, trait.default) for trait in fields(cls)}
        for name in ("harmful_classes", "harmless_classes"):
            said[name] = tuple(said[name])
        return cls(**said | {"alike": tuple(map(tuple, said["alike"]))})


class OracleWrapper(ABC):
    """An oracle that asks others: it says of itself what they say together, and a subclass only what differs."""

    @property
    @abstractmethod
    def _others(self) -> Sequence[Oracle]:
        """The oracles that it asks, by `classify` of this module."""

    @property
    def judges_afresh(self) -> bool:
        """See `OracleTraits`; whether all others do."""
        return all(map(judges_afresh, self._others))

    @property
    def representative(self) -> str | None:
        """See `OracleTraits`; None where the others have several."""
        told = {OracleTraits.of(oracle).representative for oracle in self._others}
        return told.pop() if len(told) == 1 else None

    @property
    def harmful_classes(self) -> tuple[str, ...]:
        """See `OracleTraits`; what any of the others says."""
        return tuple(dict.fromkeys(c for oracle in self._others for c in OracleTraits.of(oracle).harmful_classes))

    @property
    def harmless_classes(self) -> tuple[str, ...]:
        """See `OracleTraits`; what all of the others say."""
        told = [OracleTraits.of(oracle).harmless_classes for oracle in self._others]
        return tuple(c for c in told[0] if all(c in classes for classes in told))

    @property
    def alike(self) -> tuple[tuple[str, ...], ...]:
        """See `OracleTraits`; none where the others differ."""
        told = {OracleTraits.of(oracle).alike for oracle in self._others}
        return told.pop() if len(told) == 1 else ()

    @abstractmethod
    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:
        """Return one label per answer; see `Oracle.classify`."""

    def close(self) -> None:
        """Close the others."""
        close(*self._others)


@dataclass
class Judgements:
    """What an oracle said of the answers to one prompt, and how long it took.

    Draws stay independent given a table of remembered judgements, but errors are then fixed per answer: an error model
    that assumes independent errors needs `remember=False`.
    """

    remember: bool = True
    """Judge equal answers once."""
    seconds: float = 0.0
    """Time spent in the oracle."""
    failures: Counter[str] = field(default_factory=Counter)
    """Why draws are of class `failed`: the model's reasons as they are, the oracle's after 'oracle: '."""
    _by_text: dict[str, str] = field(default_factory=dict)

    def of(self, oracle: Oracle, answers: Sequence[Answer], prompt: Prompt, deadline: float | None = None) -> list[str]:
        """Return the class of each answer; failed answers are `failed` unseen.

        Args:
            oracle: says the class.
            answers: what the model said to the prompt.
            prompt: the same for all calls.
            deadline: `time.monotonic()` after which an oracle that can be late gives up.

        Raises:
            OracleError: the oracle failed as a whole, or said something that is not one of its classes.
        """
        texts = [answer.text for answer in answers if answer.failed is None]
        if self.remember:
            texts = [text for text in dict.fromkeys(texts) if text not in self._by_text]
        start = time.monotonic()
        said = classify(oracle, texts, [prompt] * len(texts), deadline)
        self.seconds += time.monotonic() - start
        if self.remember:
            self._by_text.update(zip(texts, said, strict=True))
        fresh = iter(said)
        labels = []
        for answer in answers:
            if answer.failed is not None:
                self.failures[answer.failed] += 1
                labels.append(FAILED)
                continue
            label = self._by_text[answer.text] if self.remember else next(fresh)
            if is_failure(label):
                reason = whole_characters(label.removeprefix(FAILED).removeprefix(": ")) or FAILED
                self.failures[f"oracle: {reason}"] += 1
            labels.append(FAILED if is_failure(label) else label)
        return labels


def classify(
    oracle: Oracle, texts: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None
) -> list[str]:
    """Ask an oracle, by its deadline if it knows any, and see that it says what it may say.

    Oracles that ask other oracles do so through this function.

    Raises:
        OracleError: the oracle failed as a whole, or said something that is not one of its classes.
    """
    if not texts:
        return []
    try:
        labels = oracle.classify(texts, prompts, **_until(oracle.classify, deadline))
    except OracleError:
        raise
    except Exception as error:
        raise OracleError(f"oracle {oracle.name} failed: {type(error).__name__}") from error
    if len(labels) != len(texts):
        raise OracleError(f"oracle {oracle.name} gave {len(labels)} labels for {len(texts)} answers")
    strange = {label for label in labels if label not in oracle.classes and not is_failure(label)}
    if strange:
        raise OracleError(f"oracle {oracle.name} said {sorted(strange)}, its classes are {oracle.classes}")
    return labels


def fix(oracle: SelectingOracle, texts: Sequence[str], prompt: Prompt, deadline: float | None = None) -> Oracle:
    """Let an oracle find its classes, by its deadline if it knows any.

    Raises:
        OracleError: it finds none.
    """
    try:
        return oracle.fix(texts, prompt, **_until(oracle.fix, deadline))
    except OracleError:
        raise
    except Exception as error:
        raise OracleError(f"oracle {oracle.name} found no classes: {type(error).__name__}") from error


def is_failure(label: str) -> bool:
    """Whether a label says that the judgement failed."""
    return label == FAILED or label.startswith(f"{FAILED}: ")


def judges_afresh(oracle: object) -> bool:
    """Whether an oracle says that it judges equal answers independently: see `OracleTraits`."""
    return OracleTraits.of(oracle).judges_afresh


def _until(function: Callable[..., object], deadline: float | None) -> dict[str, float | None]:
    return {"deadline": deadline} if "deadline" in inspect.signature(function).parameters else {}
