"""What measurements are kept in: JSON files with a version, and a digest that shows a change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from guardrail.errors import ConfigurationError, plainly

_DIGEST = "sha256"


class Record(BaseModel):
    """A measurement, as a command writes it and a guard reads it.

    The file carries a digest of its content, so that a change by hand or by accident is noticed. It is no signature:
    whoever can write the file can write a digest to match.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: ClassVar[str]
    """What it is, with its article."""
    command: ClassVar[str]
    """What writes it."""
    needs_digest: ClassVar[bool] = False
    """Whether a file without a digest is refused; else it is one of before there were any."""

    version: int = 1
    """Of the file's form. A kind whose form changes raises the default, which is the only one it reads."""

    @model_validator(mode="after")
    def _has_known_version(self) -> Self:
        known = type(self).model_fields["version"].default
        if self.version != known:
            raise ValueError(f"{self.kind} of version {self.version}, this package reads {known}")
        return self

    def to_json(self) -> str:
        """Return the content of the file that `save` writes."""
        content = self.model_dump(mode="json")
        return json.dumps({**content, _DIGEST: _digest(content)}, indent=2, ensure_ascii=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the record as JSON; folders that are missing are made."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(self.to_json(), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a record from its file.

        Raises:
            ConfigurationError: no such file, it holds no record of this kind, or it was changed since it was written.
        """
        other, again = f"{path} is not {cls.kind}", f"write it with `{cls.command}`"
        try:
            content = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise ConfigurationError(f"cannot read {cls.kind} from {path}: {plainly(error)}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{other} (it is not JSON): {again}") from error
        if not isinstance(content, dict) or (cls.needs_digest and _DIGEST not in content):
            raise ConfigurationError(f"{other}: {again}")
        if _DIGEST in content and content.pop(_DIGEST) != _digest(content):
            raise ConfigurationError(f"{path} was changed since it was written (its digest differs): {again}")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ConfigurationError(f"{other} ({wrong}): {again}") from error


def _digest(content: object) -> str:
    """Hash what a file says, however it is laid out."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
