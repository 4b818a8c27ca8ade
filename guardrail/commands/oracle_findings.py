"""What `guardrail doctor` finds of an oracle: whether it judges, how, and how long it takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import Secret, SecretBytes, SecretStr

from guardrail.commands.findings import Finding
from guardrail.errors import GuardrailError, OracleError, raised_at
from guardrail.models.base import Answer
from guardrail.oracles.base import Judgements, Oracle, OracleTraits, SelectingOracle, classify, fix, is_failure
from guardrail.oracles.conformance import TRIAL_ANSWERS, TRIAL_PROMPT, check_oracle
from guardrail.prompts import Prompt
from guardrail.settings import Settings

_HOW = {
    "function": "each distinct answer once: it says that it is a function",
    "afresh": "every draw's answer, equal ones too: it is not said to be a function",
    "kept table": "each distinct answer once, by a table that is kept of a judge that samples",
}
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 6
"""Characters of a secret that is told from words."""


def trial(oracle: Oracle | SelectingOracle, settings: Settings) -> Iterator[Finding]:
    """Let it judge one answer, as people would find out at the first request."""
    answer = TRIAL_ANSWERS[0]
    try:
        fixed = oracle if isinstance(oracle, Oracle) else fix(oracle, [answer], TRIAL_PROMPT)
        (label,) = classify(fixed, [answer], [TRIAL_PROMPT])
    except Exception as error:  # noqa: BLE001 - one's own code raises anything
        yield Finding("trial judgement", "failed", "problem", _said(error, settings))
        return
    if is_failure(label):
        advice = "no judgement will do better than this one: see the oracle's log"
        yield Finding("trial judgement", label, "problem", advice)
    else:
        yield Finding("trial judgement", f"{label!r}, of an answer about tea")
    yield Finding("judgements", _HOW[OracleTraits.of(fixed).judgements])


def conformance(oracle: Oracle | SelectingOracle, settings: Settings) -> Iterator[Finding]:
    """Compare what it says of answers alone, together, shuffled and twice."""
    subject = "oracle conformance"
    try:
        found = check_oracle(oracle)
    except Exception as error:  # noqa: BLE001 - as in `trial`
        yield Finding(subject, "failed", "problem", _said(error, settings))
        return
    asked = f"{found.judged} judgements of {len(found.labels)} answers, in {found.seconds:.1f} s"
    for problem in found.problems:
        yield Finding(subject, asked, "problem", problem)
    if found.problems:
        return
    if not found.repeats:
        differing = ", ".join(f"{count} {way}" for way, count in found.differing.items() if count)
        yield Finding(subject, f"{asked}: other classes for {differing}; it samples, and every draw is judged", "note")
        return
    equal = f"{asked}: equal alone, together, shuffled and twice"
    if found.traits.deterministic is None:
        advice = (
            "evidence, not proof, that it is a function: say so (deterministic = True; under [oracle_options] "
            "deterministic = true), and it is asked once per distinct answer"
        )
        yield Finding(subject, equal, "note", advice)
    else:
        yield Finding(subject, equal)


def time_share(
    oracle: Oracle | SelectingOracle, answers: Sequence[Answer], prompt: Prompt, seconds_a_draw: float
) -> Finding:
    """Say how much of a certificate's time the oracle takes; above a half is the paper's third sign of failure.

    Args:
        oracle: judges the answers.
        answers: what the model said to draws.
        prompt: which they answer.
        seconds_a_draw: what each of them took the model.
    """
    subject, judged = "oracle's share of time", Judgements()
    try:
        texts = [answer.text for answer in answers if answer.failed is None]
        judged.of(oracle if isinstance(oracle, Oracle) else fix(oracle, texts, prompt), answers, prompt)
    except GuardrailError as error:
        return Finding(subject, "not measured", "problem", str(error))
    share = judged.seconds / (judged.seconds + seconds_a_draw * len(answers))
    value = f"{share:.0%}: {1000 * judged.seconds / len(answers):.3g} ms a draw"
    if share <= 0.5:
        return Finding(subject, value)
    advice = "drawing is no longer what costs: a faster oracle, or one that is a function and asked once per answer"
    return Finding(subject, value, "warning", advice)


def _without_secrets(text: str, settings: Settings) -> str:
    """Return a text in which no secret of the settings or of the environment stands."""
    secrets = {*_texts(dict(settings)), *(value for name, value in os.environ.items() if _SECRET.search(name))}
    for secret in sorted(filter(lambda one: len(one) >= _SHORTEST, secrets), key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def _texts(value: object, *, secret: bool = False) -> Iterator[str]:
    """Yield the texts within secrets."""
    match value:
        case Secret() | SecretStr() | SecretBytes():
            yield from _texts(value.get_secret_value(), secret=True)
        case Mapping():
            for part in value.values():
                yield from _texts(part, secret=secret)
        case list() | tuple():
            for part in value:
                yield from _texts(part, secret=secret)
        case bytes() if secret:
            yield value.decode(errors="replace")
        case str() if secret:
            yield value
            yield from filter(None, re.findall(r"//[^/@]*:([^/@]+)@", value))  # a URL's password


def _said(error: Exception, settings: Settings) -> str:
    """Say what failed; of one's own code class, place, and its message without secrets."""
    cause = error.__cause__ if isinstance(error, OracleError) and error.__cause__ else error
    if isinstance(cause, GuardrailError):
        return str(error)
    return f"{type(cause).__name__} at {raised_at(cause)}: {_without_secrets(str(cause), settings)}"
