"""From prompts to the token inputs that a model takes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from guardrail.errors import PromptError
from guardrail.models.local.preprocessing import picture_of
from guardrail.prompts import Prompt

if TYPE_CHECKING:
    import torch

Row: TypeAlias = "Mapping[str, torch.Tensor]"
"""The token inputs of one prompt: `input_ids`, `attention_mask`, and whatever else the model takes per token."""

_NAMES = re.compile(r"(image|img|video|vision|audio|boi|eoi|patch)\w*_token_(id|index)$")
"""Names by which configurations tell the tokens that mark media."""
_IMAGE_WORDS = ("image_token", "video_token", "boi_token", "eoi_token", "start_image_token", "end_image_token")


class PromptEncoder:
    """Writes conversations by the model's chat template and turns them into tokens.

    Each image's place is filled with the number of tokens that an image of its size takes. No pixel matters, so rows
    are cached, and the text of a request is tokenised once for all its draws.

    Args:
        processor: the model's.
        config: the model's.
        options: arguments for its image processor.
        size: height and width of a picture, on which it is found out which tokens mark images.
        accepted: names of the inputs that the model takes, without those made from pixels.
        opening: text with which the answer begins, and which the model continues.
        image_tokens: number of tokens of each image; None: the processor fills them in.
    """

    def __init__(
        self,
        processor: Any,  # noqa: ANN401
        config: Any,  # noqa: ANN401
        options: Mapping[str, Any],
        *,
        size: tuple[int, int],
        accepted: Collection[str],
        opening: str = "",
        image_tokens: int | None = None,
    ) -> None:
        self._processor = processor
        self._config = config
        self._options = options
        self._size = size
        self._accepted = accepted
        self._opening = opening
        self._image_tokens = image_tokens
        self._padding = {"input_ids": processor.tokenizer.pad_token_id}
        self.row = lru_cache(maxsize=256)(self._row)
        """The row of a prompt with images of these sizes (height, width); cached."""

    def require_plain(self, prompt: Prompt, sizes: tuple[tuple[int, int], ...]) -> None:
        """Refuse text that this model reads as an image: in a batch, other requests' pictures would move to it.

        Raises:
            PromptError: the text holds a token that marks images, whole or in pieces.
        """
        for word in sorted(self._words):
            if word in prompt.text:
                raise PromptError(f"the text contains {word!r}, which this model reads as an image: remove it")
        alone = self._marks(self.row(Prompt.of("?", len(sizes)), sizes)) if sizes else Counter[int]()
        if (found := self._marks(self.row(prompt, sizes))) != alone:
            raise PromptError(
                f"text and images make {found.total()} tokens that mark images, and {len(sizes)} image(s) alone "
                f"{alone.total()}: remove what this model reads as an image, or place each image in a user's turn"
            )

    @cached_property
    def _words(self) -> set[str]:
        """Whatever marks an image in the text: what the processor and its tokenizer call so, and what they put in."""
        tokenizer = self._processor.tokenizer
        owners = (self._processor, tokenizer)
        words = {str(word) for owner in owners for name in _IMAGE_WORDS if (word := getattr(owner, name, None))}
        with_image = self.row(Prompt.of("?", 1), (self._size,))["input_ids"].tolist()
        put_in = {*with_image} - {*tokenizer(self.chat(Prompt.of("?", 0)))["input_ids"]} - _borders(tokenizer)
        added = tokenizer.added_tokens_decoder
        return words | {str(added[token]) for token in (put_in | self._named) if token in added}

    @cached_property
    def _named(self) -> set[int]:
        """Tokens of the vocabulary that the model's configuration names as those of media."""
        named = {value for name, value in vars(self._config).items() if _NAMES.search(name) and isinstance(value, int)}
        return named & {*self._processor.tokenizer.added_tokens_decoder} - _borders(self._processor.tokenizer)

    def _marks(self, row: Row) -> Counter[int]:
        return Counter(token for token in row["input_ids"].tolist() if token in self._named)

    def chat(self, prompt: Prompt) -> str:
        """Return the conversation as text, up to where the answer begins.

        Raises:
            PromptError: the model's chat template refuses it.
        """
        messages = [
            {
                "role": turn.role,
                "content": [
                    {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                    for part in turn.parts
                ],
            }
            for turn in prompt.turns
        ]
        try:
            chat = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # a template is a program that came with the model: it may raise anything
            raise PromptError(f"the model's chat template refuses this conversation: {error}") from error
        return cast("str", chat) + self._opening

    def _row(self, prompt: Prompt, sizes: tuple[tuple[int, int], ...]) -> Row:
        import torch

        blanks = [picture_of(np.zeros((height, width, 3), np.float32)) for height, width in sizes]
        chat = self.chat(prompt)
        bos = self._processor.tokenizer.bos_token
        begin = {"add_special_tokens": False} if bos and chat.startswith(bos) else {}  # or there would be two
        try:
            if self._image_tokens is not None:
                word = self._processor.image_token
                if chat.count(word) != len(sizes):  # pictures would shift to other requests of the batch
                    raise ValueError(f"the chat template has places for {chat.count(word)} image(s)")
                batch = self._processor.tokenizer([chat.replace(word, word * self._image_tokens)], **begin)
            else:
                batch = self._processor(images=[blanks] if blanks else None, text=[chat], **self._options, **begin)
        except Exception as error:  # as in `chat`
            raise PromptError(f"the model's processor refuses it with {len(sizes)} image(s): {error}") from error
        values = {name: np.asarray(batch[name][0]) for name in self._accepted if name in batch}
        length = len(values["input_ids"])
        return {name: torch.from_numpy(value) for name, value in values.items() if value.ndim and len(value) == length}

    def batch(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Return rows as tensors [rows, longest, …] on the CPU, padded on the left; further dimensions on the right."""
        import torch

        inputs = {}
        for name in rows[0]:
            values = [row[name] for row in rows]
            shape = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
            padded = torch.full((len(values), *shape), self._padding.get(name, 0), dtype=values[0].dtype)
            for place, value in zip(padded, values, strict=True):
                place[(slice(shape[0] - len(value), None), *map(slice, value.shape[1:]))] = value
            inputs[name] = padded
        return inputs


def _borders(tokenizer: Any) -> set[int | None]:  # noqa: ANN401
    """Return the tokens that begin, end or fill a text of any kind."""
    return {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}
