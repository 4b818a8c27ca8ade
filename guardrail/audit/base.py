"""What the guard asks of an audit log."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from guardrail.policy import Decision


@runtime_checkable
class AuditSink(Protocol):
    """Records decisions. A decision is recorded when it is made, and again when its answer has been screened."""

    def record(self, decision: Decision) -> None:
        """Record one decision; the same id again replaces what was recorded.

        Raises:
            AuditError: the log cannot be written.
        """
