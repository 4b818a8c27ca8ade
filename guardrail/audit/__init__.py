"""The log of decisions, and what operators say against them."""

from guardrail.audit.base import AuditSink
from guardrail.audit.log import AuditLog, AuditRecord
from guardrail.audit.overrides import Override, Overrides

__all__ = ["AuditLog", "AuditRecord", "AuditSink", "Override", "Overrides"]
