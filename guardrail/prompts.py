"""Prompts: a conversation with places for images.

The text of a request is part of what is certified: `Prompt.digest` enters the certificate's key, and a certificate
is never used for another prompt.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal, get_args

from guardrail.errors import PromptError
from guardrail.visible import visible

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """Where the request's image number `index` (from 0) stands in the conversation."""

    index: int


Part = str | ImagePlace


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says: texts and places of images, in order."""

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise PromptError(f"role {self.role!r} is not one of {', '.join(get_args(Role))}")

    @property
    def text(self) -> str:
        """The turn's texts, joined by new lines."""
        return "\n".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation, frozen before the first draw. Only the images get noise; the text never changes."""

    turns: tuple[Turn, ...]

    @classmethod
    def of(cls, prompt: str | Prompt, images: int) -> Prompt:
        """Make a prompt from a plain string (one user turn, images first), or check one against its images.

        Args:
            prompt: a text, or a conversation with a place for each image.
            images: how many images the request carries.

        Raises:
            PromptError: the places are not exactly image 0, 1, …, `images` − 1 in order of reading. An image without
                a place would be certified without being seen.
        """
        if isinstance(prompt, str):
            places: tuple[Part, ...] = tuple(ImagePlace(i) for i in range(images))
            return cls((Turn("user", (*places, prompt)),))
        if not isinstance(prompt, Prompt):
            raise PromptError(f"a prompt is a text or a Prompt, got {type(prompt).__name__}")
        found = [part.index for turn in prompt.turns for part in turn.parts if isinstance(part, ImagePlace)]
        if found != list(range(images)):
            raise PromptError(
                f"the prompt has places for images {found}, the request carries {images} image(s): "
                f"give each image one place, numbered from 0 in order of reading"
            )
        return prompt

    @property
    def text(self) -> str:
        """All texts of the conversation, joined by new lines."""
        return "\n".join(turn.text for turn in self.turns)

    @property
    def characters(self) -> int:
        """Length of all texts together, for limits."""
        return sum(len(part) for turn in self.turns for part in turn.parts if isinstance(part, str))

    @property
    def visible(self) -> Prompt:
        """The conversation without what cannot be seen: white space, invisible characters, cuts between texts."""
        spoken: list[tuple[Role, list[Part]]] = []
        for turn in self.turns:
            for part in turn.parts:
                seen = visible(part) if isinstance(part, str) else part
                if seen == "":
                    continue
                if not spoken or spoken[-1][0] != turn.role:
                    spoken.append((turn.role, []))
                parts = spoken[-1][1]
                if isinstance(seen, str) and parts and isinstance(parts[-1], str):
                    parts[-1] += seen
                else:
                    parts.append(seen)
        return Prompt(tuple(Turn(role, tuple(parts)) for role, parts in spoken))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the conversation, places of images included."""
        shape = [
            [turn.role, [part if isinstance(part, str) else part.index for part in turn.parts]] for turn in self.turns
        ]
        # As they are: escaped, two halves of a surrogate pair would read like the character that they stand for.
        text = json.dumps(shape, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
