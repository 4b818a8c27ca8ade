"""A chat model as judge of answers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from guardrail.errors import ConfigurationError
from guardrail.oracles.asking.chat_classifier import ChatClassifier, Json
from guardrail.oracles.base import HARMFUL, HARMLESS
from guardrail.prompts import Prompt

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable


class JudgeOracle:
    """Has a chat model judge each answer, given its prompt, by a rubric.

    The judge reads the texts of the conversation and the answer, quoted as data; of images it reads only where they
    stood. It never sees a picture: the clean one would void the certificate. A judgement that fails or does not parse
    is `failed: why`; its call is repeated only where the judge cannot have said anything: see `ChatClassifier`. By the
    rubric that comes with the package, an answer that cannot see the picture is harmless: put `IllegibleOracle` around
    the judge.

    Calls. Every draw's answer is judged by a separate call, equal answers too, as a judge whose verdict varies would
    otherwise decide a whole request by one call. With `deterministic=True`, which `guardrail doctor --oracle` can
    support, each distinct answer is judged once: the judge is a function, its errors are fixed per answer, and only a
    worst-case bound on them may be claimed. With `afresh=True` the judge is declared to sample, which error models
    with independent errors need. It is refused unless the judge is known to (a temperature above 0, no fixed seed), as
    a judge at temperature 0 repeats its errors in every call. That makes such an error model possible, not true: a
    sampled judge may still err on one answer far more often than on others, and a cache before the model makes it a
    table again.

    Args:
        chat: a chat model, bare or with bound arguments, or a chain (see `ChatClassifier`). A temperature of 0 makes
            judgements as repeatable as the provider can.
        rubric: a file (`Path`) or a text that says what the classes mean; None: the rubric of harmful and harmless that
            comes with the package. A hash of its content is part of the name.
        classes: the labels that the judge may say.
        harmful_classes, harmless_classes, alike: what the classes mean, see `OracleTraits`.
        afresh: declares that judgements of equal answers are independent.
        deterministic: declares that equal answers to equal prompts always get the same judgement.
        name: names model, revision and parameters; None: taken from `chat`. A chain needs one.
        structured: what binds replies to the classes: see `ChatClassifier`.
        max_concurrency: calls in flight, of all requests together.
        max_attempts: calls per judgement, where all before the last failed before any content.
        backoff: seconds before the second attempt, with jitter; doubled for each further one.
        timeout: seconds per call; a call that takes longer is a failed judgement.
        retry_statuses: HTTP statuses by which the server rejects a request before it generates anything.

    Raises:
        ConfigurationError: no such rubric, or one that does not name the classes; `afresh` for a judge that is not
            known to sample, or `deterministic` for one that is; whatever else `ChatClassifier` refuses.
    """

    def __init__(
        self,
        chat: Runnable[Any, Any],
        *,
        rubric: str | Path | None = None,
        classes: Sequence[str] = (HARMLESS, HARMFUL),
        harmful_classes: Sequence[str] = (),
        harmless_classes: Sequence[str] = (),
        alike: Sequence[Sequence[str]] = (),
        afresh: bool = False,
        deterministic: bool = False,
        name: str | None = None,
        structured: bool | Literal["json_schema", "function_calling", "json_mode"] = True,
        max_concurrency: int = 16,
        max_attempts: int = 4,
        backoff: float = 0.5,
        timeout: float = 60.0,
        retry_statuses: Sequence[int] = (429,),
    ) -> None:
        self._classifier = ChatClassifier(
            chat,
            _read_rubric(rubric),
            classes,
            name=name,
            structured=structured,
            max_concurrency=max_concurrency,
            max_attempts=max_attempts,
            backoff=backoff,
            timeout=timeout,
            retry_statuses=retry_statuses,
            deterministic=deterministic,
        )
        if afresh and not self._classifier.sampled:
            raise ConfigurationError(
                "afresh=True needs a judge that is known to sample: set its temperature above 0 and no seed; "
                f"at a temperature of 0 it repeats its errors. The judge is {self._classifier.name}"
            )
        self.harmful_classes, self.harmless_classes, self.alike = harmful_classes, harmless_classes, alike
        self.deterministic = False if afresh else self._classifier.deterministic
        """See `OracleTraits`."""

    def __repr__(self) -> str:
        return f"JudgeOracle({self.name!r})"

    @property
    def name(self) -> str:
        """The judging model and its parameters, the rubric's hash, the classes, and whether it judges afresh."""
        return f"judge{' afresh' if self.deterministic is False else ''}/{self._classifier.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that the judge may say."""
        return self._classifier.labels

    def classify(self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None) -> list[str]:
        """Return one class per answer, in order, each from a separate call; `failed: why` where there is none.

        It may be called from any thread, also from one whose event loop is running (which it then blocks).

        Raises:
            OracleError: the judge cannot be asked at all: a wrong key or name, or it was closed.
        """
        return self._classifier.classify(_quotations(answers, prompts), deadline)

    async def aclassify(
        self, answers: Sequence[str], prompts: Sequence[Prompt], deadline: float | None = None
    ) -> list[str]:
        """Classify as `classify` does, without blocking the event loop; cancelling it cancels the calls in flight."""
        return await self._classifier.aclassify(_quotations(answers, prompts), deadline)

    def close(self) -> None:
        """Cancel what is in flight and give the connections back. Later calls raise `OracleError`."""
        self._classifier.close()


def bundled_rubric(file: str) -> str:
    """Return the text of a rubric that comes with the package."""
    return resources.files("guardrail.oracles.asking").joinpath("rubrics", file).read_text("utf-8")


def _read_rubric(rubric: str | Path | None) -> str:
    """Return the text of a rubric: the given text, a file's, or for None that of harmful and harmless.

    Raises:
        ConfigurationError: the file cannot be read as UTF-8 text.
    """
    if isinstance(rubric, str):
        return rubric
    try:
        if rubric is None:
            return bundled_rubric("harmful.md")
        return rubric.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the rubric {str(rubric)!r} cannot be read: {type(error).__name__}") from error


def _quotations(answers: Sequence[str], prompts: Sequence[Prompt]) -> list[Json]:
    return [
        {"conversation": conversation(prompt), "answer": answer}
        for answer, prompt in zip(answers, prompts, strict=True)
    ]


def conversation(prompt: Prompt) -> list[Json]:
    """Return a prompt as data for a judge: turns with roles and texts, each image replaced by its number from 1."""
    return [
        {
            "role": turn.role,
            "content": [part if isinstance(part, str) else {"image": part.index + 1} for part in turn.parts],
        }
        for turn in prompt.turns
    ]
