"""What the guard asks of a vision-language model: answers to draws."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from guardrail.callers import current_caller
from guardrail.certify.noise import NoiseStream
from guardrail.errors import GuardrailError, ModelError
from guardrail.prompts import Prompt
from guardrail.visible import is_blank

if TYPE_CHECKING:
    from torch import Tensor

Sizes = Sequence[tuple[int, int]]
"""Height and width of each image of a request."""
BLANK = "blank"
"""Why a draw has failed whose answer has no visible character."""


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One noisy copy of a request's images, made only when it is asked for.

    The clean pictures are reachable by no model through this class: what a model could see of `x` beyond `x + δ`
    would void the certificate.
    """

    _clean: tuple[NDArray[np.float64], ...] = field(repr=False)
    """Each image at the certification resolution, [height, width, 3], values in [0, 1]."""
    prompt: Prompt
    sigma: float
    _stream: NoiseStream
    index: int

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each image."""
        return [image.shape[:2] for image in self._clean]

    @property
    def sampling_seed(self) -> int:
        """The seed, in [0, 2⁶³), for every random choice of the model in this draw."""
        return self._stream.sampling_seed(self.index)

    def images(self) -> list[NDArray[np.float32]]:
        """Return `x + δ` for each image: [height, width, 3], not clipped, the same at every call."""
        return [self._stream.noisy(clean, self.sigma, self.index, image) for image, clean in enumerate(self._clean)]


@dataclass(frozen=True, slots=True, eq=False)
class DenoisedDraw:
    """What a model sees of a draw behind a denoiser: `denoise(x + δ)`, and nothing else of `x`.

    It is no `Draw`, so that no model can make noise of its own on the clean picture: it holds none.
    """

    prompt: Prompt
    sizes: list[tuple[int, int]]
    sigma: float
    index: int
    sampling_seed: int
    pictures: list[Tensor] = field(repr=False)
    """The denoised images where they were made: float32 [height, width, 3], not clipped."""

    def images(self) -> list[NDArray[np.float32]]:
        """Return the denoised images: [height, width, 3], not clipped, the same at every call."""
        return [picture.cpu().numpy() for picture in self.pictures]


def whole_characters(text: str) -> str:
    """Return a text without halves of surrogate pairs, which no encoding holds; two that belong together are joined.

    They are left out, not replaced, as oracles that fold their text leave them out.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said to one draw. A draw that failed is an answer too, never an exception."""

    text: str
    failed: str | None = None
    """Why there is no answer (`deadline`, `filtered`, `blank`, …): the draw counts as class `failed`, and is final."""
    complete: bool = True
    """Whether the model ended by itself rather than at the limit on tokens."""
    tokens: int = 0
    """Tokens that were generated."""

    def __post_init__(self) -> None:
        """Keep what can be written down: an answer is judged, stored and logged as one and the same text."""
        object.__setattr__(self, "text", whole_characters(self.text))
        if self.failed is not None:
            object.__setattr__(self, "failed", whole_characters(self.failed))

    @classmethod
    def failure(cls, reason: str) -> Answer:
        """Make the answer of a failed draw."""
        return cls("", failed=reason, complete=False)


@runtime_checkable
class VisionLanguageModel(Protocol):
    """A model that can be smoothed. `name` is part of every cache key.

    It may also have the attributes of `ModelTraits`, `facts` (`ModelFacts`), an `aanswer` that is awaited instead of
    `answer`, and a `close`.
    """

    @property
    def name(self) -> str:
        """All that the verdict depends on: model, revision or hash, decoding, length, preprocessing path."""

    @property
    def resolution(self) -> tuple[int, int] | None:
        """Height and width at which noise is added; None: each image's own size, bounded."""

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        """Raise before the first draw if the model cannot take this request.

        Raises:
            PromptError: the prompt does not fit the model (`PromptTooLongError` for its length).
            TooManyImagesError: more images than the model takes.
        """

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw, in order, using nothing of a draw but its noisy images, prompt and sampling seed.

        Args:
            draws: any number, of any requests.
            deadline: `time.monotonic()` after which draws not yet begun fail with reason `deadline`.

        Raises:
            ModelError: the model cannot answer at all.
        """


def ask(model: VisionLanguageModel, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
    """Ask a model, and see that it gives an answer to each draw.

    An answer in which nothing can be seen says nothing: it is a failed draw, `blank`, unless the model says of itself
    that a blank is a finding.

    Raises:
        GuardrailError: what the model says is wrong, as it says it.
        ModelError: the model failed in a way of its own, or gave something else than an answer a draw.
        concurrent.futures.CancelledError: called off (`guardrail.callers.asking`), which is no failure of the model's.
    """
    caller = current_caller()
    if caller is not None and caller.cancelled:
        raise CancelledError(f"request called off after {draws[0].index if draws else 0} draws")
    try:
        answers = model.answer(draws, deadline)
    except (GuardrailError, CancelledError):
        raise
    except Exception as error:
        raise ModelError(f"model {model.name} failed: {type(error).__name__}: {error}") from error
    if len(answers) != len(draws):
        raise ModelError(f"model {model.name} gave {len(answers)} answers to {len(draws)} draws")
    if odd := [answer for answer in answers if not isinstance(answer, Answer)]:
        raise ModelError(f"model {model.name} gave a {type(odd[0]).__name__}, not an Answer")
    if ModelTraits.of(model).blank_is_finding:
        return answers
    return [replace(a, failed=BLANK) if a.failed is None and is_blank(a.text) else a for a in answers]


@runtime_checkable
class _Awaited(Protocol):
    async def aanswer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]: ...


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> object: ...


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What a model may say of itself, by attributes of these names. The defaults hold where it does not."""

    batch_size: int | None = None
    """Most draws per batch, of several requests together; None: batches gain it nothing, or it packs them itself."""
    max_draws: int | None = None
    """Draws per certificate that its owner pays for; None: no limit."""
    repeats_draws: bool = True
    """Whether a draw that is asked for again comes out the same; else asking again is asking for a luckier draw."""
    batch_dependent: bool = False
    """Whether an answer may depend on what else is in its batch, as by rounding in bfloat16: then it repeats in the
    same batches only, and the company that a request has is chance, or somebody's choice."""
    caveats: tuple[str, ...] = ()
    """What each of its certificates must warn of."""
    max_queue: int | None = None
    """Draws that may wait before it refuses new requests; None: it has no queue."""
    answers_user: bool = True
    """Whether its answers could be given to a user, as those of a model that only reads or labels could not."""
    blank_is_finding: bool = False
    """Whether an answer without a visible character says something ('no text'), whose class its oracle names; else it
    is a failed draw."""

    @property
    def repeatable(self) -> bool:
        """Whether a request that is asked again gets the same answers, whatever other requests there are."""
        return self.repeats_draws and not self.batch_dependent

    @classmethod
    def of(cls, model: object) -> Self:
        """Return what a model says of itself."""
        said: dict[str, Any] = {trait.name: getattr(model, trait.name, trait.default) for trait in fields(cls)}
        return cls(**said)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model tells people about itself; None: it does not. No verdict depends on it."""

    dtype: str | None = None
    tokens_per_image: str | None = None
    """How many, or why that cannot be said."""
    tensors: bool | None = None
    """Whether it takes noisy pictures as tensors, neither clipped nor rounded to 8 bits."""

    @classmethod
    def of(cls, model: object) -> Self:
        """Return the facts of a model, its attribute `facts`."""
        facts = getattr(model, "facts", None)
        return facts if isinstance(facts, cls) else cls()


class ModelWrapper(ABC):
    """A model that stands around others: it says of itself what they say, and a subclass only what differs.

    Args:
        models: one, or replicas of one.
    """

    def __init__(self, *models: VisionLanguageModel) -> None:
        self._models = models

    @property
    def resolution(self) -> tuple[int, int] | None:
        """Height and width at which noise is added."""
        return self._models[0].resolution

    @property
    def batch_size(self) -> int | None:
        """See `ModelTraits`; the least of the models'."""
        return _least(traits.batch_size for traits in self._traits)

    @property
    def max_draws(self) -> int | None:
        """See `ModelTraits`; the least of the models'."""
        return _least(traits.max_draws for traits in self._traits)

    @property
    def repeats_draws(self) -> bool:
        """See `ModelTraits`; whether all models do."""
        return all(traits.repeats_draws for traits in self._traits)

    @property
    def batch_dependent(self) -> bool:
        """See `ModelTraits`; whether it is for any model."""
        return any(traits.batch_dependent for traits in self._traits)

    @property
    def caveats(self) -> tuple[str, ...]:
        """See `ModelTraits`; those of all models, each once."""
        return tuple(dict.fromkeys(caveat for traits in self._traits for caveat in traits.caveats))

    @property
    def max_queue(self) -> int | None:
        """See `ModelTraits`; the least of the models'."""
        return _least(traits.max_queue for traits in self._traits)

    @property
    def answers_user(self) -> bool:
        """See `ModelTraits`; whether all models do."""
        return all(traits.answers_user for traits in self._traits)

    @property
    def blank_is_finding(self) -> bool:
        """See `ModelTraits`; whether it is for all models."""
        return all(traits.blank_is_finding for traits in self._traits)

    @property
    def facts(self) -> ModelFacts:
        """The facts of the first model."""
        return ModelFacts.of(self._models[0])

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        """Raise before the first draw if the model cannot take this request; see `VisionLanguageModel.check`."""
        self._models[0].check(prompt, sizes)

    @abstractmethod
    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw, in order; see `VisionLanguageModel.answer`."""

    @abstractmethod
    async def aanswer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw as `answer` does, without holding up the event loop."""

    def close(self) -> None:
        """Close the models."""
        close(*self._models)

    @property
    def _traits(self) -> list[ModelTraits]:
        return [ModelTraits.of(model) for model in self._models]


async def aanswer(model: VisionLanguageModel, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
    """Ask a model without holding up the event loop: by its own `aanswer`, else by `answer` in a thread."""
    if isinstance(model, _Awaited):
        return await model.aanswer(draws, deadline)
    return await asyncio.to_thread(model.answer, draws, deadline)


def awaits(model: object) -> bool:
    """Whether a model can be asked without a thread: by an `aanswer` of its own, and so the models it stands around."""
    return isinstance(model, _Awaited) and all(map(awaits, model._models if isinstance(model, ModelWrapper) else ()))


def close(*parts: object) -> None:
    """Close those models, oracles or other parts that can be closed, in this order."""
    with ExitStack() as stack:  # which closes all, also where one of them fails
        for part in reversed(parts):
            if isinstance(part, _Closable):
                stack.callback(part.close)


def past(deadline: float | None) -> bool:
    """Whether a deadline on the monotonic clock has passed."""
    return deadline is not None and time.monotonic() >= deadline


def _least(numbers: Iterable[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)
