"""What the guard asks of an oracle: the class of an answer."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol, Self, runtime_checkable

from guardrail.certify.noise import NoiseStream
from guardrail.errors import OracleError, raised_at
from guardrail.models.base import Answer, close, whole_characters
from guardrail.prompts import Prompt

JudgementKind = Literal["function", "afresh", "kept table"]
"""Whether equal answers are judged once, by an oracle that is a function; or each draw's answer by itself; or once, by
a table that was drawn once for good."""
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

    It may also have the attributes of `OracleTraits`, a `deadline` in `classify`, a `close`, and, where it samples,
    `classify_draws(answers, prompts, seeds, deadline)`: like `classify`, with a seed in [0, 2⁶³) of each answer, on
    which every random choice about it rests, so that its judgements can be had again.
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

    deterministic: bool | None = None
    """Whether it is a function: an equal answer to an equal prompt always gets the same class, alone and in company.
    False: it samples, independently at every call. None: nobody knows. Only a function is asked once per distinct
    answer, and only of one that samples may independent errors be assumed."""
    kept_table: bool = False
    """Of a function: whether it is a table that was drawn from a judge that samples, once for good."""
    repeats_judgements: bool = False
    """Whether a judgement that is asked for again, with the same seed, comes out the same. So it does, unless an
    oracle says otherwise, where it is a function or has `classify_draws`."""
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
        """Return what an oracle says of itself; one that has `classify_draws` and says nothing samples."""
        seeded = hasattr(oracle, "classify_draws")
        implied: dict[str, Any] = {"deterministic": False if seeded else None}
        implied["repeats_judgements"] = seeded or getattr(oracle, "deterministic", None) is True
        said = {t.name: getattr(oracle, t.name, implied.get(t.name, t.default)) for t in fields(cls)}
        for name in ("harmful_classes", "harmless_classes"):
            said[name] = (said[name],) if isinstance(said[name], str) else tuple(said[name])
        return cls(**said | {"alike": tuple(map(tuple, said["alike"]))})

    @property
    def judgements(self) -> JudgementKind:
        """How its answers are judged; what is not known to be a function is asked about every draw."""
        if self.deterministic is not True:
            return "afresh"
        return "kept table" if self.kept_table else "function"


class OracleWrapper(ABC):
    """An oracle that asks others: it says of itself what they say together, and a subclass only what differs."""

    @property
    @abstractmethod
    def _others(self) -> Sequence[Oracle]:
        """The oracles that it asks, by `classify` of this module."""

    @property
    def deterministic(self) -> bool | None:
        """See `OracleTraits`; what all others say alike, None where they differ."""
        return together(self._others)

    @property
    def kept_table(self) -> bool:
        """See `OracleTraits`; whether any other is."""
        return any(OracleTraits.of(oracle).kept_table for oracle in self._others)

    @property
    def repeats_judgements(self) -> bool:
        """See `OracleTraits`; whether all others do."""
        return all(OracleTraits.of(oracle).repeats_judgements for oracle in self._others)

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

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:
        """Return one label per answer; see `Oracle.classify`.

        Raises:
            OracleError: an oracle within cannot judge at all.
        """
        return self._classify(answers, prompts, deadline, None)

    def classify_draws(
        self, answers: Sequence[str], prompts: Sequence[Prompt], seeds: Sequence[int], deadline: float | None = None
    ) -> list[str]:
        """Classify as `classify` does, by the seed of each answer; see `Oracle`."""
        return self._classify(answers, prompts, deadline, seeds)

    @abstractmethod
    def _classify(
        self,
        answers: Sequence[str],
        prompts: Sequence[Prompt],
        deadline: float | None,
        seeds: Sequence[int] | None,
    ) -> list[str]: ...

    def close(self) -> None:
        """Close the others."""
        close(*self._others)


@dataclass
class Judgements:
    """What an oracle said of the answers to one prompt, and how long it took.

    An oracle that is a function is asked once about each distinct answer: draws stay independent, given that table.
    Every other is asked about every draw by itself, equal answers too: asked once per distinct answer, a judge that
    samples would make the whole certificate one coin of its error probability.
    """

    stream: NoiseStream | None = None
    """Where the seeds of an oracle that samples come from, by the number of the answer; None: it gets none."""
    seconds: float = 0.0
    """Time spent in the oracle."""
    failures: Counter[str] = field(default_factory=Counter)
    """Why draws are of class `failed`: the model's reasons as they are, the oracle's after 'oracle: '."""
    _by_text: dict[str, str] = field(default_factory=dict)
    _number: int = 0
    """Answers so far."""

    def of(self, oracle: Oracle, answers: Sequence[Answer], prompt: Prompt, deadline: float | None = None) -> list[str]:
        """Return the class of each answer; failed answers are `failed` unseen.

        Args:
            oracle: says the class.
            answers: what the model said to the prompt, after those of the calls before.
            prompt: the same for all calls.
            deadline: `time.monotonic()` after which an oracle that can be late gives up.

        Raises:
            OracleError: the oracle failed as a whole, or said something that is not one of its classes.
        """
        texts = {self._number + i: answer.text for i, answer in enumerate(answers) if answer.failed is None}
        start = time.monotonic()
        labels = self._labels(oracle, texts, prompt, deadline)
        self.seconds += time.monotonic() - start
        for answer in answers:
            if answer.failed is not None:
                self.failures[answer.failed] += 1
        for label in filter(is_failure, labels.values()):
            reason = whole_characters(label.removeprefix(FAILED).removeprefix(": ")) or FAILED
            self.failures[f"oracle: {reason}"] += 1
        places = range(self._number, self._number + len(answers))
        self._number += len(answers)
        return [FAILED if is_failure(labels.get(place, FAILED)) else labels[place] for place in places]

    def _labels(
        self, oracle: Oracle, texts: Mapping[int, str], prompt: Prompt, deadline: float | None
    ) -> dict[int, str]:
        """Return what the oracle says of each text, by its number."""
        if OracleTraits.of(oracle).judgements == "afresh":
            seeds = None if self.stream is None else [self.stream.sampling_seed(number) for number in texts]
            said = classify(oracle, list(texts.values()), [prompt] * len(texts), deadline, seeds)
            return dict(zip(texts, said, strict=True))
        unknown = [text for text in dict.fromkeys(texts.values()) if text not in self._by_text]
        said = classify(oracle, unknown, [prompt] * len(unknown), deadline)
        self._by_text.update(zip(unknown, said, strict=True))
        return {number: self._by_text[text] for number, text in texts.items()}


def classify(
    oracle: Oracle,
    texts: Sequence[str],
    prompts: Sequence[Prompt],
    deadline: float | None = None,
    seeds: Sequence[int] | None = None,
) -> list[str]:
    """Ask an oracle, by its deadline and by seeds if it knows any, and see that it says what it may say.

    Oracles that ask other oracles do so through this function.

    Raises:
        OracleError: the oracle failed as a whole, or said something that is not one of its classes.
    """
    if not texts:
        return []
    by_seed: Callable[..., list[str]] | None = getattr(oracle, "classify_draws", None)
    try:
        if seeds is None or by_seed is None:
            labels = list(oracle.classify(texts, prompts, **_until(oracle.classify, deadline)))
        else:
            labels = list(by_seed(texts, prompts, seeds, **_until(by_seed, deadline)))
    except OracleError:
        raise
    except Exception as error:
        raise failure(f"oracle {oracle.name} failed", error) from error
    if len(labels) != len(texts):
        raise OracleError(f"oracle {oracle.name} gave {len(labels)} labels for {len(texts)} answers")
    said = {repr(x) for x in labels if not (isinstance(x, str) and (x in oracle.classes or is_failure(x)))}
    if said:
        raise OracleError(f"oracle {oracle.name} said {', '.join(sorted(said))}, its classes are {oracle.classes}")
    return labels


def classify_at(
    places: Sequence[int],
    oracle: Oracle,
    texts: Sequence[str],
    prompts: Sequence[Prompt],
    deadline: float | None,
    *,
    seeds: Sequence[int] | None,
) -> dict[int, str]:
    """Ask an oracle as `classify` does, but only about the texts at these places; the labels come by place."""
    some = [texts[i] for i in places], [prompts[i] for i in places]
    labels = classify(oracle, *some, deadline, None if seeds is None else [seeds[i] for i in places])
    return dict(zip(places, labels, strict=True))


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
        raise failure(f"oracle {oracle.name} found no classes", error) from error


def is_failure(label: str) -> bool:
    """Whether a label says that the judgement failed."""
    return label == FAILED or label.startswith(f"{FAILED}: ")


def together(oracles: Iterable[object]) -> bool | None:
    """Return what all of these say of `OracleTraits.deterministic`; None where one does not know, or they differ."""
    said = {OracleTraits.of(oracle).deterministic for oracle in oracles}
    return said.pop() if len(said) == 1 else None


def samples(oracle: object) -> bool:
    """Whether an oracle says that it judges equal answers independently: see `OracleTraits`."""
    return OracleTraits.of(oracle).deterministic is False


def failure(what: str, error: Exception) -> OracleError:
    """Return an error that says where one's own code failed, and not what it said, which may hold secrets."""
    return OracleError(f"{what}: {type(error).__name__} at {raised_at(error)}")


def _until(function: Callable[..., object], deadline: float | None) -> dict[str, float | None]:
    return {"deadline": deadline} if "deadline" in inspect.signature(function).parameters else {}
