"""Every error that guardrail raises on purpose.

Each says what was wrong, names the value, and says what to do. Library code raises them; `Guard` turns those
that concern a request into a `Decision` with a reason code, so that a chat application sees a value.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Final

DEADLINE: Final = "deadline"
"""What stands for an answer that was not there in time, and for why drawing stopped then."""


class GuardrailError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(GuardrailError, ValueError):
    """Settings that cannot work, found before the first request."""


class ImageError(GuardrailError, ValueError):
    """An image that cannot be read: malformed, truncated, of an unsupported kind, or not to be found."""


class ImageTooLargeError(ImageError):
    """An image above the limit on bytes or pixels; found before it is decoded."""


class OtherPictureError(ImageError):
    """A file that was decoded to another picture than it was known for."""

    def __init__(self, message: str, pictures: Sequence[Any]) -> None:
        super().__init__(message)
        self.pictures = pictures
        """What it was decoded to: an `InputImage` for each file."""


class TooManyImagesError(ImageError):
    """More images than one request may carry."""


class PromptError(GuardrailError, ValueError):
    """A prompt that the model cannot take: too long, or its places do not match the images."""


class PromptTooLongError(PromptError):
    """A prompt above the limit on characters or beyond the model's context."""


class ModelError(GuardrailError, RuntimeError):
    """The vision-language model cannot be loaded or cannot answer at all."""


class OracleError(GuardrailError, RuntimeError):
    """The oracle cannot judge at all. One judgement that fails is a draw of class `failed`, not an error."""


class QueueFullError(GuardrailError, RuntimeError):
    """As many draws wait as may: ask again later."""


class BudgetSpentError(GuardrailError, RuntimeError):
    """The client has caused as many draws as it may in a minute: ask again later."""


class StoreError(GuardrailError, RuntimeError):
    """The certificate store cannot be reached or refused the operation."""

    told: bool = False
    """Whether the log tells of this outage already, and will tell when it is over."""


class AuditError(GuardrailError, RuntimeError):
    """The audit log could not record a decision."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean …?)` with the name that a misspelt one is nearest to; nothing where none is near."""
    near = get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def plainly(error: Exception) -> str:
    """Say in plain words why a file could not be read or written."""
    match error:
        case FileNotFoundError():
            return "there is no such file or folder"
        case PermissionError():
            return "permission is denied"
        case IsADirectoryError():
            return "it is a folder, not a file"
        case NotADirectoryError() | FileExistsError():
            return "a file stands where a folder is needed"
        case UnicodeDecodeError():
            return "it is not a text file in UTF-8"
    return getattr(error, "strerror", None) or str(error)


def raised_at(error: BaseException) -> str:
    """Say in which file and line an error arose, as `file:line`."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
