"""The log that guardrail 0.1.0 wrote before there were migrations; `databases` restores it."""

from __future__ import annotations

from guardrail import Action, Reason, Verdict
from guardrail.audit import AuditLog, Overrides

WHITE = "2a96036f6db9f70bf277a8bf6a1d01e8e20ca416ff5227c681b4422b973c8fda"
BLACK = "8e6acf5a351a97e53b29b18a4192944de5ac5953da7a0b59892e0788696f49af"


def assert_the_old_log_is_whole(log: AuditLog) -> None:
    """Nothing that was recorded is lost, and all of it is found by what it was about."""
    answered, overridden = sorted(log.find(client="alice"), key=lambda record: record.time)
    (harmful,) = log.find(client="bob")
    assert answered.decision.reasons == (Reason.ANSWER_HARMFUL,)
    assert answered.decision.session == "s"
    assert answered.decision.tags == ("t", "u")
    assert answered.time < answered.updated
    assert answered.decision.certificate is not None
    assert answered.decision.certificate.verdict is Verdict.HARMLESS
    assert answered.decision.certificate.image_sha256 == (WHITE,)
    assert [record.decision.id for record in log.find(reason="certified_harmful")] == [harmful.decision.id]
    assert harmful.decision.certificate is not None
    assert harmful.decision.certificate.verdict is Verdict.HARMFUL
    assert [record.decision.id for record in log.find(reason="overridden")] == [overridden.decision.id]
    assert "a copyright claim" in overridden.decision.details[0]
    (flagged,) = log.find(action=Action.FLAG)
    assert flagged.decision.client == 'it\'s 100 % \\ "Zoë"'
    assert log.get("f" * 32) == flagged
    assert log.get("a" * 32) is not None
    said = {override.image_sha256: (override.action, override.reason) for override in Overrides(log).in_force()}
    assert (said[WHITE], said[BLACK]) == (("block", "a copyright claim"), ("allow", "a false alarm"))
