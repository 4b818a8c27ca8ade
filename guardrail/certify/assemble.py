"""From what was drawn to the certificate: bounds, radii, and the warnings that belong to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from guardrail.certify.certificate import Certificate, StopReason, Verdict
from guardrail.certify.design import Design
from guardrail.certify.options import Smoothing
from guardrail.measuring.recall import recall_statement
from guardrail.models.base import Answer
from guardrail.oracles.base import ILLEGIBLE, Judgements, Oracle, OracleTraits
from guardrail.request import Request
from guardrail.statistics import ContradictedAssumptionError, OracleError, certified_radius

LOW_ROBUSTNESS = 0.1
"""The paper's sign that a model has low robustness: a certified radius below this."""
LONGEST_KEPT_ANSWER = 8_000
"""Characters of a drawn answer that a certificate may carry."""


@dataclass
class Run:
    """What has been drawn for one request."""

    oracle: Oracle
    design: Design
    judged: Judgements
    """Judgements so far, of the selection draws too."""
    selection_draws: int = 0
    """Draws spent on selecting a class."""
    uncounted_tokens: int = 0
    """Tokens generated in draws that are not counted."""
    answers: list[Answer] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    looks: list[int] = field(default_factory=list)
    q_lower: dict[str, float] = field(default_factory=dict)
    """The best bound so far for each class under test; it holds at all looks together."""
    stop: StopReason | None = None
    seconds: float = 0.0
    """From the first draw to the last judgement."""

    def count(self, answers: Sequence[Answer], labels: Sequence[str], look: int) -> None:
        """Count the draws up to this look, by index, and look."""
        self.answers += answers
        self.labels += labels
        self.counts.update(labels)
        self.looks.append(look)
        for c in self.design.rule.tested:
            votes = self.design.rule.count(self.counts, c)
            self.q_lower[c] = max(self.q_lower.get(c, 0.0), self.design.bound.lower(votes, look))


def assemble(run: Run, request: Request, smoothing: Smoothing, model: str, caveats: Iterable[str] = ()) -> Certificate:
    """Return the certificate of the class that came nearest, or the abstention.

    Args:
        run: at least one look.
        request: what was asked.
        smoothing: how.
        model: name of the model that answered.
        caveats: what it says that its certificates must warn of.
    """
    warnings = list(caveats)
    leader = max(run.design.rule.tested, key=lambda c: run.q_lower[c])
    q_lower, p_lower, radius_true = run.q_lower[leader], None, None
    radius_oracle = certified_radius(q_lower, smoothing.sigma)
    about = smoothing.error_about(leader)
    if about is not None and radius_oracle > 0.0:
        try:
            p_lower = about.correct(q_lower)
            radius_true = certified_radius(p_lower, smoothing.sigma)
        except ContradictedAssumptionError as contradiction:
            warnings.append(str(contradiction))
            run.stop, radius_oracle = "contradicted", 0.0
    radius = radius_oracle if radius_true is None else min(radius_oracle, radius_true)
    rule, traits = run.design.rule, OracleTraits.of(run.oracle)
    certified, cell = (leader, rule.cells[leader]) if radius > 0.0 else (None, ())
    if certified is None:
        radius_oracle, radius_true = 0.0, None if radius_true is None else 0.0
    recall = recall_statement(smoothing.recall, model, run.oracle.name, smoothing.sigma)
    return Certificate(
        verdict=Verdict.of(cell, traits),
        certified_class=certified,
        cell=cell,
        radius=radius,
        radius_oracle=radius_oracle,
        radius_true=radius_true,
        radius_original_pixels=radius / request.norm,
        q_lower=q_lower,
        p_lower=p_lower,
        counts={label: run.counts[label] for label in sorted({*run.oracle.classes, *run.counts})},
        failures=dict(sorted(run.judged.failures.items())),
        draws=len(run.answers),
        selection_draws=run.selection_draws,
        budget=smoothing.samples,
        tokens=run.uncounted_tokens + sum(answer.tokens for answer in run.answers),
        looks=tuple(run.looks),
        stop_reason=run.stop or "budget",
        method=run.design.bound.name,
        sigma=smoothing.sigma,
        alpha=smoothing.alpha,
        alpha_draws=smoothing.alpha_draws,
        alpha_oracle=smoothing.alpha_oracle,
        class_rule=rule.name,
        oracle_error=_stated(about, elsewhere := smoothing.transferred(model)),
        image_sha256=request.hashes,
        resolution=request.sizes,
        prompt_sha256=request.prompt.digest,
        model=model,
        oracle=run.oracle.name,
        representative=traits.representative,
        oracle_time_share=min(1.0, run.judged.seconds / run.seconds) if run.seconds > 0.0 else 0.0,
        answer=None if traits.harmful.intersection(cell) else _first(run.answers, run.labels, cell),
        warnings=(
            *warnings,
            *_warnings(certified, radius, run.judged.failures),
            *_untested(run),
            *_doubts(about, elsewhere),
            recall,
        ),
    )


def _stated(error: OracleError | None, elsewhere: str | None) -> str:
    if error is None:
        return "not measured: about the oracle's verdict only"
    transfer = f"transfer: measured on {elsewhere}, which no alpha covers" if elsewhere else None
    return "; ".join(filter(None, (error.name, f"assumes that {error.assumption}", error.transfer, transfer)))


def _doubts(error: OracleError | None, elsewhere: str | None) -> Iterable[str]:
    if error is None:
        yield "oracle error not measured: the radius protects the oracle's verdict, not what the answers really are"
    elif error.asserted:
        yield "oracle error not measured: radius_true and p_lower rest on rates that were asserted"
    if elsewhere:
        yield f"transfer: the oracle error was measured on {elsewhere}: that its rates hold here is assumed"


def _warnings(certified: str | None, radius: float, failures: Counter[str]) -> Iterable[str]:
    if certified is not None and radius < LOW_ROBUSTNESS:
        yield f"radius {radius:.3f} is below {LOW_ROBUSTNESS}: low robustness; a larger sigma or training may help"
    if failures:
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(failures.items()))
        yield f"{failures.total()} draws failed ({why}); they count against the certified class"


def _untested(run: Run) -> Iterable[str]:
    """Name the classes that could not be certified: one that says it cannot see only where it was drawn."""
    named = [c for c in run.design.rule.untested if c != ILLEGIBLE or run.counts[c]]
    if named:
        yield f"never certified, whatever the draws: {', '.join(named)}"


def _first(answers: Sequence[Answer], labels: Sequence[str], cell: Sequence[str]) -> str | None:
    """Return the lowest-index answer of the certified cell that is short enough to keep."""
    texts = (a.text for a, label in zip(answers, labels, strict=True) if label in cell)
    return next((text for text in texts if len(text) <= LONGEST_KEPT_ANSWER), None)
