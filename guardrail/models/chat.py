"""Any chat model that LangChain can call, or a chain that takes messages, as the smoothed model.

This is the way to hosted models and to clusters (vLLM, or whatever speaks the OpenAI protocol).
"""

from __future__ import annotations

import base64
import io
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from guardrail.chat_calls import Call, ChatCalls, Reply
from guardrail.chat_calls.chains import models_in
from guardrail.chat_calls.identity import identity
from guardrail.chat_calls.replies import complete, said, withheld
from guardrail.chat_calls.seeds import fixed_seeds, seed_parameter
from guardrail.errors import ConfigurationError, ModelError, PromptError, TooManyImagesError
from guardrail.models.base import Answer, Draw, Sizes
from guardrail.prompts import ImagePlace, Prompt, Turn

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable

logger = logging.getLogger(__name__)


class ChatModelVLM:
    """A chat model behind a network that answers draws one call each, with bounded concurrency.

    Noisy copies are sent as PNG data URLs: clipped to [0, 1] and rounded to 8 bits after the noise, which is part of
    the model and of its name and costs no soundness. A call is repeated, with the same noise and the same seed, only
    where it provably failed before any content: connection refused, or rejected by a rate limit. Every other failure
    (time-out, cut connection, error of the server, content filter, refusal field, empty answer) is final: the draw is
    of class `failed`. Answers come back by index, whichever ends first. Retries of the model's own client are
    switched off, as they repeat what failed because of its content.

    Calls run on an event loop in a thread of their own and in an empty context: no callback, tracer or stream of the
    caller sees a drawn answer. Callbacks that a developer attached to `chat` itself stay.

    Args:
        chat: a chat model, or a chain that takes messages and ends in a message (or text, which hides the reason why
            an answer ended). What happens within a function or an agent cannot be seen: it must not retry or cache.
        name: stands for model, revision and parameters in place of what `chat` tells of itself; needed for a chain.
        resolution: height and width at which noise is added; None: each image's own size, bounded.
        max_concurrency: calls in flight, of all requests together.
        max_attempts: calls per draw, where all before the last failed before any content.
        backoff: seconds before the second attempt, with jitter; doubled for each further one.
        timeout: seconds per call; a call that takes longer is a failed draw.
        seed: whether each draw sends its own sampling seed. True: by the chat model's `seed` field if it has one; a
            string: by the parameter of this name. A model without seeds is 'unseeded' in its name: asking again is
            then another draw, and only stored decisions keep an attacker from asking until the answer suits.
        max_draws: draws per certificate that may be paid for, those that select a class included; None: no limit.
        max_images: images per request that the model takes; None: not known.
        retry_statuses: HTTP statuses by which the server rejects a request before it generates anything. A 503 counts
            where it says when to come back (`Retry-After`); others can hide an answer that broke the server.

    Raises:
        ConfigurationError: impossible options; retries, fallbacks or a fixed seed within `chat`; a chain without name.
    """

    repeats_draws = False
    """A draw that is asked for again is paid for again, and hosted models honour seeds at best effort."""

    def __init__(
        self,
        chat: Runnable[Any, Any],
        *,
        name: str | None = None,
        resolution: tuple[int, int] | None = None,
        max_concurrency: int = 16,
        max_attempts: int = 4,
        backoff: float = 0.5,
        timeout: float = 60.0,
        seed: bool | str = True,
        max_draws: int | None = None,
        max_images: int | None = None,
        retry_statuses: Sequence[int] = (429,),
    ) -> None:
        counts = {k: v for k, v in (("max_draws", max_draws), ("max_images", max_images)) if v is not None}
        counts |= {} if resolution is None else {"height": resolution[0], "width": resolution[1]}
        for option, value in counts.items():
            if value < 1:
                raise ConfigurationError(f"{option} must be at least 1, got {value}")
        parameter = seed_parameter(models_in(chat), seed)
        _refuse_fixed_seeds(chat, parameter)
        size = "own size" if resolution is None else f"{resolution}"
        seeded = "unseeded" if parameter is None else f"seeded by {parameter!r}"
        self._name = f"{name or identity(chat)}/png 8 bit {size}/{seeded}"
        self._calls = ChatCalls(
            chat,
            seed_parameter=parameter,
            max_concurrency=max_concurrency,
            max_attempts=max_attempts,
            backoff=backoff,
            timeout=timeout,
            retry_statuses=retry_statuses,
        )
        self._resolution = resolution
        self._max_images = max_images
        self.max_draws = max_draws

    def __repr__(self) -> str:
        return f"ChatModelVLM({self._name!r})"

    @property
    def name(self) -> str:
        """Model, parameters (hashed but for the telling ones), preprocessing, and how it is seeded; no secrets."""
        return self._name

    @property
    def resolution(self) -> tuple[int, int] | None:
        """Height and width at which noise is added; None: each image's own size, bounded."""
        return self._resolution

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        """Raise before the first draw if the request cannot be sent. The server is not asked.

        Raises:
            PromptError: places and images do not match; an image in a turn that chat models take no images in; a
                conversation without a last turn to answer.
            TooManyImagesError: more than `max_images`.
        """
        if self._max_images is not None and len(sizes) > self._max_images:
            raise TooManyImagesError(f"the model takes {self._max_images} images, the request has {len(sizes)}")
        if not sizes:
            raise PromptError("a request without images has nothing to certify: pass at least one")
        Prompt.of(prompt, len(sizes))
        for turn in prompt.turns:
            if turn.role in {"system", "assistant"} and any(isinstance(part, ImagePlace) for part in turn.parts):
                raise PromptError(f"chat models take no image in a {turn.role} turn: move it to a user turn")
        if prompt.turns[-1].role not in {"user", "tool"}:
            raise PromptError(f"the conversation ends with a {prompt.turns[-1].role} turn: there is nothing to answer")

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw, in order; those that have no answer by the deadline fail with reason `deadline`.

        It may be called from any thread, also from one whose event loop is running (which it then blocks).

        Raises:
            ModelError: a draw beyond `max_draws`, before any of `draws` is sent; the server knows no such model or
                key; the chain does not end in a message or text; the model was closed.
        """
        return self._told(self._calls.ask(self._asked(draws), _answer, deadline))

    async def aanswer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw as `answer` does; cancelling it cancels the calls in flight."""
        return self._told(await self._calls.aask(self._asked(draws), _answer, deadline))

    def close(self) -> None:
        """Cancel what is in flight and give the connections back. Later calls raise `ModelError`."""
        self._calls.close()

    def _asked(self, draws: Sequence[Draw]) -> list[Call]:
        beyond = [draw.index for draw in draws if self.max_draws is not None and draw.index >= self.max_draws]
        if beyond:
            raise ModelError(
                f"the request needs draw number {max(beyond) + 1}, max_draws allows {self.max_draws}: "
                "lower Smoothing.samples, or pay for more"
            )
        return [Call(partial(_messages, draw), draw.sampling_seed) for draw in draws]

    def _told(self, answers: list[Answer]) -> list[Answer]:
        failures = Counter(answer.failed for answer in answers if answer.failed is not None)
        if failures:
            logger.warning("%s: of %d draws failed %s", self._name, len(answers), dict(failures))
        return answers


def _refuse_fixed_seeds(chat: Runnable[Any, Any], parameter: str | None) -> None:
    """Refuse a seed that all draws would share: they would agree by construction, and certify nothing.

    Raises:
        ConfigurationError: there is one.
    """
    fixed = fixed_seeds(chat, parameter)
    if fixed:
        raise ConfigurationError(
            f"the chat model has a fixed {', '.join(sorted(fixed))}, with which all draws would agree "
            "whatever the model: leave it out, each draw sends its own"
        )


def _answer(reply: Reply) -> Answer:
    """Return a reply as an answer: failed where it was filtered, refused by field, or empty."""
    from langchain_core.messages import AIMessage

    def failure(reason: str) -> Answer:
        return Answer("", failed=reason, complete=False, tokens=reply.tokens)

    output = reply.output
    if reply.failed is not None:
        return failure(reply.failed)
    if isinstance(output, str):
        return Answer(output, tokens=reply.tokens) if output.strip() else failure("empty")
    if not isinstance(output, AIMessage):
        raise ModelError(f"the chain ends in {type(output).__name__}, not in a message or text: leave out its parser")
    reason = withheld(output)
    if reason is not None:
        return failure(reason)
    text = said(output)
    return Answer(text, complete=complete(output), tokens=reply.tokens) if text.strip() else failure("empty")


def _messages(draw: Draw) -> list[BaseMessage]:
    urls = [_data_url(image) for image in draw.images()]
    return [_message(turn, urls) for turn in draw.prompt.turns]


def _message(turn: Turn, urls: Sequence[str]) -> BaseMessage:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    if turn.role == "system":
        return SystemMessage(turn.text)
    if turn.role == "assistant":
        return AIMessage(turn.text)
    content: list[str | dict[str, Any]] = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": urls[part.index]}}
        for part in turn.parts
    ]
    if turn.role == "tool":  # providers take a tool's message only after the call that it answers
        content.insert(0, {"type": "text", "text": "Result of a tool:"})
    return HumanMessage(content)


def _data_url(noisy: NDArray[np.float32]) -> str:
    """Return a picture [height, width, 3] as a PNG data URL: clipped to [0, 1], then rounded to 8 bits."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((np.clip(noisy, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), "RGB").save(
        file, "PNG", compress_level=1
    )
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
