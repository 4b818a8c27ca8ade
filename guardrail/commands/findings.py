"""One thing that `guardrail doctor` has looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    value: str
    status: Status = "ok"
    """`problem`: the guard does not work as it is set up; `warning`: it works, and less well than it seems."""
    advice: str = ""
