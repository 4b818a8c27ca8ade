"""Error models of the oracle: exact where their assumption holds, and each tempting shortcut shown to be unsound.

False rates are computed, not simulated: the count is binomial, so they are sums over counts (and over label counts).
"""

import math
from collections.abc import Callable, Hashable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy.stats import binom

from guardrail.oracles.base import is_failure
from guardrail.statistics.clopper_pearson import clopper_pearson_lower, clopper_pearson_upper
from guardrail.statistics.oracle_error import (
    ClassConditionalError,
    ContradictedAssumptionError,
    ImpossibleRateError,
    LabelledAnswers,
    OracleError,
    SymmetricError,
    UnknownSymmetricError,
    WorstCaseError,
)
from tests.kit.simulations import simulations

ALPHA = 0.01
ALPHA_ORACLE = 0.01

probabilities = st.floats(0.0, 1.0, exclude_max=True)
thousandths = st.integers(0, 1000).map(lambda i: i / 1000)
models = st.one_of(
    st.just(UnknownSymmetricError()),
    st.floats(0.0, 0.49).map(lambda e: SymmetricError(rate_lower=e)),
    st.tuples(st.floats(0.0, 0.6), st.floats(0.0, 0.39)).map(
        lambda ab: ClassConditionalError(false_a_upper=ab[0], missed_a_lower=ab[1])
    ),
    st.floats(0.0, 0.49).map(lambda e: WorstCaseError(rate_upper=e)),
)


def labelled(right_a: int, false_a: int, missed_a: int, right_other: int, *, held_out: bool = True) -> LabelledAnswers:
    return LabelledAnswers(
        certified_class="harmless",
        said_a_is_a=right_a,
        said_a_is_other=false_a,
        said_other_is_a=missed_a,
        said_other_is_other=right_other,
        population="requests of a test",
        vlm="a model",
        labels_sha256="0" * 64,
        held_out=held_out,
    )


def false_rate(claim: Callable[[float], float], q: float, p: float, draws: int = 200) -> float:
    """P[the bound on p exceeds p], over `draws` draws of which the oracle calls each A with probability q."""

    def claimed(k: int) -> float:
        try:
            return claim(clopper_pearson_lower(k, draws, ALPHA))
        except ContradictedAssumptionError:
            return 0.0  # no certificate

    mass = binom.pmf(np.arange(draws + 1), draws, q)
    return float(sum(m for k, m in enumerate(mass) if claimed(k) > p))


# --------------------------------------------------------------------------------------------- numbers and monotony


def test_numbers_of_the_theory() -> None:
    assert SymmetricError(rate_lower=0.1).correct(0.8) == pytest.approx(0.875)
    assert WorstCaseError(rate_upper=0.1).correct(0.8) == pytest.approx(0.7)
    assert ClassConditionalError(false_a_upper=0.1).correct(0.8) == pytest.approx(0.7 / 0.9)
    assert ClassConditionalError(false_a_upper=0.1, missed_a_lower=0.1).correct(0.8) == pytest.approx(0.875)
    assert UnknownSymmetricError().correct(0.8) == 0.8


@given(models, probabilities, probabilities)
def test_corrections_are_probabilities_and_grow_with_q(model: OracleError, q1: float, q2: float) -> None:
    low, high = sorted((q1, q2))
    try:
        p_low, p_high = model.correct(low), model.correct(high)
    except ContradictedAssumptionError:
        return
    assert 0.0 <= p_low <= p_high < 1.0


@given(st.floats(0.5, 0.99), st.floats(0.0, 0.4), st.floats(0.0, 0.4))
def test_rates_are_conservative_in_the_direction_of_their_names(q: float, r1: float, r2: float) -> None:
    low, high = sorted((r1, r2))

    def correct(model: OracleError) -> float:
        try:
            return model.correct(q)
        except ContradictedAssumptionError:
            return math.inf

    assert correct(SymmetricError(rate_lower=low)) <= correct(SymmetricError(rate_lower=high))
    assert correct(WorstCaseError(rate_upper=low)) >= correct(WorstCaseError(rate_upper=high))
    assert correct(ClassConditionalError(false_a_upper=low)) >= correct(ClassConditionalError(false_a_upper=high))
    a = 0.3
    if q >= a:
        assert correct(ClassConditionalError(false_a_upper=a, missed_a_lower=low)) <= correct(
            ClassConditionalError(false_a_upper=a, missed_a_lower=high)
        )


@given(st.floats(0.0, 0.499), st.floats(0.0, 0.499))
def test_symmetric_models_say_nothing_below_a_half(q: float, rate: float) -> None:
    # with ε = q, an answer that is never A is called A with probability q
    assert UnknownSymmetricError().correct(q) == 0.0
    assert SymmetricError(rate_lower=rate).correct(q) == 0.0


@given(models, st.floats(0.5, 0.98))
def test_the_required_q_reaches_the_target_and_nothing_less_does(model: OracleError, target: float) -> None:
    required = model.required_q(target)
    assert required >= target
    for q, reaches in ((required + 1e-9, True), (required - 1e-9, False)):
        if not 0.0 <= q < 1.0:
            continue
        try:
            assert (min(q, model.correct(q)) >= target) is reaches
        except ContradictedAssumptionError:
            assert q + 1e-9 > target  # q may not exceed 1 − b: then no q reaches the target, or `required` is that edge


# --------------------------------------------------------------------------------- sound where the assumption holds


@given(p=thousandths, rate=thousandths.map(lambda e: e * 0.49), lower=thousandths)
@settings(max_examples=60, deadline=None)
def test_symmetric_models_are_sound_for_symmetric_flips(p: float, rate: float, lower: float) -> None:
    q = rate + p * (1.0 - 2.0 * rate)
    assert false_rate(SymmetricError(rate_lower=rate * lower).correct, q, p + 1e-9) <= ALPHA
    assert false_rate(UnknownSymmetricError().correct, q, p + 1e-9) <= ALPHA


@given(p=thousandths, a=thousandths, b=thousandths, slack=thousandths)
@settings(max_examples=80, deadline=None)
def test_class_conditional_errors_are_sound_even_for_an_oracle_worse_than_chance(
    p: float, a: float, b: float, slack: float
) -> None:
    q = p * (1.0 - b) + (1.0 - p) * a  # true rates a and b, any at all
    upper, lower = a + slack * (1.0 - a), b * slack
    if upper + lower < 0.999:
        model = ClassConditionalError(false_a_upper=upper, missed_a_lower=lower)
        assert false_rate(model.correct, q, p + 1e-9) <= ALPHA


@given(p=thousandths, rate=thousandths.map(lambda e: e * 0.49))
@settings(max_examples=40, deadline=None)
def test_the_worst_case_is_sound_when_every_error_adds_a_vote(p: float, rate: float) -> None:
    q = min(1.0, p + rate)
    assert false_rate(WorstCaseError(rate_upper=rate).correct, q, p + 1e-9) <= ALPHA


@pytest.mark.simulation
def test_the_error_processes_simulated() -> None:
    # The processes themselves, not only their q. Tolerance: each count of false bounds is at most binomial(N, α), and
    # exceeds `allowed` with probability 1e-6.
    requests, draws = simulations(4000), 200
    allowed = binom.isf(1e-6, requests, ALPHA)
    rng = np.random.default_rng(11)
    p, a, b, rate = 0.8, 0.3, 0.1, 0.15
    is_a = rng.random((requests, draws)) < p
    flip = rng.random((requests, draws))
    processes: list[tuple[OracleError, np.ndarray]] = [
        (SymmetricError(rate_lower=rate), np.where(flip < rate, ~is_a, is_a)),
        (ClassConditionalError(false_a_upper=a, missed_a_lower=b), np.where(is_a, flip >= b, flip < a)),
        (WorstCaseError(rate_upper=(1 - p) * a), np.where(is_a, True, flip < a)),
    ]
    for model, said_a in processes:
        corrected = np.zeros(draws + 1)
        for k in range(draws + 1):
            try:
                corrected[k] = model.correct(clopper_pearson_lower(k, draws, ALPHA))
            except ContradictedAssumptionError:
                corrected[k] = 0.0
        false = (corrected[said_a.sum(axis=1)] > p).sum()
        assert 0 < false <= allowed


# ---------------------------------------------------------------------------------------- shortcuts that are unsound


def test_an_over_estimated_symmetric_rate_claims_too_much() -> None:
    # (q − ε)/(1 − 2ε) grows with ε for q > 1/2. An upper bound on ε looks careful and is the opposite: at a true rate
    # of 0.05, the bound 0.25 makes most certificates false. This is why the rate is a *lower* bound.
    p, rate = 0.8, 0.05
    q = rate + p * (1 - 2 * rate)
    assert false_rate(SymmetricError(rate_lower=0.25).correct, q, p) > 0.85
    assert false_rate(SymmetricError(rate_lower=0.05).correct, q, p) <= ALPHA
    assert false_rate(SymmetricError(rate_lower=0.0).correct, q, p) <= ALPHA


def test_theorem_4_2_is_false_for_asymmetric_errors() -> None:
    # an oracle that misses nothing (b = 0) but lets 40 % of the harmful answers pass, on a model that is mostly harmful
    p, a = 0.4, 0.4
    q = p + (1 - p) * a
    assert q > 0.6
    assert false_rate(UnknownSymmetricError().correct, q, p) > 0.9
    assert false_rate(ClassConditionalError(false_a_upper=a).correct, q, p) <= ALPHA
    assert false_rate(WorstCaseError(rate_upper=(1 - p) * a).correct, q, p) <= ALPHA


def test_an_observed_rate_is_no_bound() -> None:
    # 20 labels, a true rate of 0.1: none of them wrong with probability 0.12, and then a = k/m = 0 corrects nothing
    p, a, labels = 0.7, 0.1, 20
    q = p + (1 - p) * a
    plug_in = bounded = 0.0
    for k, mass in enumerate(binom.pmf(np.arange(labels + 1), labels, a)):
        rate = k / labels
        plug_in += mass * false_rate(ClassConditionalError(false_a_upper=min(rate, 0.999)).correct, q, p)
        model = ClassConditionalError.from_labelled(labelled(50, k, 0, labels - k), ALPHA_ORACLE) if k < 12 else None
        bounded += mass * (false_rate(model.correct, q, p) if model else 0.0)
    assert plug_in > 1.5 * ALPHA
    assert bounded <= ALPHA + ALPHA_ORACLE


def test_a_rate_among_the_answers_called_a_is_another_rate() -> None:
    # In a population where 95 % of the answers are harmless, an oracle that passes 60 % of the harmful ones is wrong on
    # only 3 % of what it calls harmless. A jailbreak image turns that around: there, most answers are harmful.
    labels = labelled(950, 30, 0, 20)
    wrong = clopper_pearson_upper(labels.said_a_is_other, labels.said_a_is_a + labels.said_a_is_other, ALPHA_ORACLE)
    right = ClassConditionalError.from_labelled(labels, ALPHA_ORACLE)
    assert right.false_a_upper == clopper_pearson_upper(30, 50, ALPHA_ORACLE)
    p, a = 0.2, 0.6
    q = p + (1 - p) * a
    assert false_rate(ClassConditionalError(false_a_upper=wrong).correct, q, p) > 0.99
    assert false_rate(right.correct, q, p) <= ALPHA


def test_remembered_judgements_are_not_independent() -> None:
    # A model that gives one and the same harmful answer on every draw, and a judge that is wrong on 10 % of answers.
    # Asked once and remembered, it is wrong on all draws or on none: a false certificate with probability 0.1.
    p, a, draws = 0.0, 0.1, 200
    model = ClassConditionalError(false_a_upper=a)
    all_votes = model.correct(clopper_pearson_lower(draws, draws, ALPHA))
    assert all_votes > 0.9
    assert a * (all_votes > p) > 5 * ALPHA
    assert false_rate(model.correct, a, p + 1e-9) <= ALPHA  # judged afresh, the same model is sound


@pytest.mark.parametrize(
    "model",
    [UnknownSymmetricError(), SymmetricError(rate_lower=0.1), ClassConditionalError(false_a_upper=0.1)],
    ids=lambda m: m.kind,
)
def test_models_that_assume_independence_refuse_remembered_judgements(model: OracleError) -> None:
    assert model.assumes_independence
    model.require_judgements(remembered=False)
    with pytest.raises(ContradictedAssumptionError, match="WorstCaseError"):
        model.require_judgements(remembered=True)


def test_the_worst_case_covers_remembered_judgements() -> None:
    model = WorstCaseError(rate_upper=0.1)
    assert not model.assumes_independence
    model.require_judgements(remembered=True)


# -------------------------------------------------------------------------------------- contradictions, refusals


@pytest.mark.parametrize(
    ("model", "ceiling"),
    [
        (SymmetricError(rate_lower=0.1), 0.9),
        (ClassConditionalError(false_a_upper=0.2, missed_a_lower=0.25), 0.75),
    ],
)
def test_data_that_contradict_the_assumption_are_named_not_clipped(model: OracleError, ceiling: float) -> None:
    with pytest.raises(ContradictedAssumptionError, match=rf"0\.95.*allows at most {ceiling}"):
        model.correct(0.95)
    assert 1 - 1e-12 < model.correct(ceiling) < 1.0  # the edge itself is possible, and its radius finite


def test_clipping_would_certify_what_no_p_explains() -> None:
    # an oracle said to miss 10 % of the harmless answers (b = 0.1), that in truth misses none: true p = 0.95 = q
    model = ClassConditionalError(false_a_upper=0.0, missed_a_lower=0.1)

    def clipped(q_lower: float) -> float:
        return min(1.0, q_lower / 0.9)

    assert false_rate(clipped, 0.95, 0.95, draws=2000) > 0.99
    assert false_rate(model.correct, 0.95, 0.95, draws=2000) < false_rate(clipped, 0.95, 0.95, draws=2000)
    with pytest.raises(ContradictedAssumptionError):
        model.correct(0.93)


@pytest.mark.parametrize(
    "build",
    [
        lambda: SymmetricError(rate_lower=0.5),
        lambda: SymmetricError(rate_lower=-0.1),
        lambda: SymmetricError(rate_lower=math.nan),
        lambda: WorstCaseError(rate_upper=0.5),
        lambda: WorstCaseError(rate_upper=math.nan),
        lambda: ClassConditionalError(false_a_upper=0.6, missed_a_lower=0.4),
        lambda: ClassConditionalError(false_a_upper=math.nan),
        lambda: ClassConditionalError(false_a_upper=1.0),
        lambda: UnknownSymmetricError(alpha_oracle=0.1),
        lambda: WorstCaseError(rate_upper=0.1, labels=labelled(1, 1, 1, 1)),
    ],
)
def test_impossible_rates_are_refused(build: Callable[[], OracleError]) -> None:
    with pytest.raises(ValidationError):  # a ValueError
        build()


@given(models, st.sampled_from([-0.1, 1.0, math.nan]))
def test_impossible_bounds_are_refused(model: OracleError, q_lower: float) -> None:
    with pytest.raises(ValueError, match="q_lower must lie"):
        model.correct(q_lower)


# ------------------------------------------------------------------------------------------------ labelled answers


def test_rates_come_from_the_right_labels_in_the_right_direction() -> None:
    labels = labelled(right_a=180, false_a=4, missed_a=20, right_other=96)
    symmetric = SymmetricError.from_labelled(labels, ALPHA_ORACLE)
    assert symmetric.rate_lower == clopper_pearson_lower(24, 300, ALPHA_ORACLE) < 24 / 300
    one = ClassConditionalError.from_labelled(labels, ALPHA_ORACLE)
    assert one.false_a_upper == clopper_pearson_upper(4, 100, ALPHA_ORACLE) > 4 / 100
    assert one.missed_a_lower == 0.0
    both = ClassConditionalError.from_labelled(labels, ALPHA_ORACLE, estimate_missed=True)
    assert both.missed_a_lower == clopper_pearson_lower(20, 200, ALPHA_ORACLE) < 20 / 200
    worst = WorstCaseError.from_labelled(labels, ALPHA_ORACLE)
    assert worst.rate_upper == clopper_pearson_upper(4, 300, ALPHA_ORACLE) > 4 / 300
    # each estimated rate spends its own error probability, and the record stays with the model
    assert [m.alpha_oracle for m in (symmetric, one, both, worst)] == [0.01, 0.01, 0.02, 0.01]
    for model in (symmetric, one, both, worst):
        assert model.labels == labels
        assert model.transfer is not None
        assert "300 requests" in model.transfer
        assert "0" * 64 in model.transfer
    assert WorstCaseError(rate_upper=0.1).transfer is None


FAILURES = ("failed", "failed: timeout", "failed: ", None)


@pytest.mark.parametrize("failure", FAILURES)
def test_failed_judgements_count_in_no_lower_bound(failure: str | None) -> None:
    """200 labels, 40 of them failed and none wrong: they made p ≥ 0.761 and 0.921 of q = 0.7."""
    rows = [(i, "harmless", failure if i < 40 else "harmless") for i in range(100)]
    rows += [(i, "harmful", "harmful") for i in range(100, 200)]
    everywhere = [*rows[:100], *((i, "harmful", failure) for i in range(100, 140)), *rows[140:]]
    for said in (rows, everywhere):
        labels = LabelledAnswers.count(said, "harmless", population="test", vlm="model", oracle="o", held_out=True)
        assert (labels.said_other_is_a, labels.failed_is_a) == (40, 40)
        assert SymmetricError.from_labelled(labels, ALPHA_ORACLE).correct(0.7) == 0.7
        both = ClassConditionalError.from_labelled(labels, ALPHA_ORACLE, estimate_missed=True)
        assert both.missed_a_lower == 0.0
        assert both.correct(0.7) < 0.7
        assert SymmetricError.from_labelled(labels, ALPHA_ORACLE).correct(0.95) == 0.95, "and contradict nothing"


def test_of_misses_and_failures_the_misses_alone_bound_from_below() -> None:
    rows = [(i, "harmless", "failed: timeout" if i < 30 else "harmful" if i < 50 else "harmless") for i in range(200)]
    rows += [(i, "harmful", "harmless" if i < 204 else "harmful") for i in range(200, 300)]
    labels = LabelledAnswers.count(rows, "harmless", population="test", vlm="model", oracle="o", held_out=True)
    assert (labels.said_other_is_a, labels.failed_is_a) == (50, 30)
    symmetric = SymmetricError.from_labelled(labels, ALPHA_ORACLE)
    assert symmetric.rate_lower == clopper_pearson_lower(24, 300, ALPHA_ORACLE)
    both = ClassConditionalError.from_labelled(labels, ALPHA_ORACLE, estimate_missed=True)
    assert both.missed_a_lower == clopper_pearson_lower(20, 200, ALPHA_ORACLE)
    with pytest.raises(ValidationError, match="failed_is_a 51"):
        LabelledAnswers.model_validate({**labels.model_dump(), "failed_is_a": 51})


@given(st.sampled_from([*FAILURES, "harmless", "failure", "failed:", "Failed"]))
def test_the_oracles_word_for_a_failure_is_the_labels(label: str | None) -> None:
    rows = [("r", "harmless", label)]
    counted = LabelledAnswers.count(rows, "harmless", population="test", vlm="model", held_out=True)
    assert bool(counted.failed_is_a) == (label is None or is_failure(label))


@pytest.mark.parametrize(
    ("model", "better"),
    [
        (SymmetricError.from_labelled(labelled(180, 4, 20, 96), ALPHA_ORACLE), {"rate_lower": 0.2}),
        (WorstCaseError.from_labelled(labelled(180, 4, 20, 96), ALPHA_ORACLE), {"rate_upper": 0.0}),
        (ClassConditionalError.from_labelled(labelled(180, 4, 20, 96), ALPHA_ORACLE), {"false_a_upper": 0.01}),
        (ClassConditionalError.from_labelled(labelled(180, 4, 20, 96), ALPHA_ORACLE), {"missed_a_lower": 0.2}),
    ],
)
def test_labels_vouch_for_no_better_rates_than_they_show(model: OracleError, better: dict[str, float]) -> None:
    assert type(model).model_validate(model.model_dump()) == model
    with pytest.raises(ValidationError, match="claims more than its labels show"):
        type(model).model_validate({**model.model_dump(), **better})


@given(thousandths, thousandths, st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_estimated_rates_are_bounds(a: float, b: float, labels: int) -> None:
    """The bound on a fails at most at its own rate, whatever b is; likewise b."""

    def missing(rate: float, bound: Callable[[int], bool]) -> float:
        return float(sum(m for k, m in enumerate(binom.pmf(np.arange(labels + 1), labels, rate)) if bound(k)))

    assert missing(a, lambda k: clopper_pearson_upper(k, labels, ALPHA_ORACLE) < a - 1e-12) <= ALPHA_ORACLE
    assert missing(b, lambda k: clopper_pearson_lower(k, labels, ALPHA_ORACLE) > b + 1e-12) <= ALPHA_ORACLE


def test_too_few_or_unfit_labels_are_refused_with_a_remedy() -> None:
    with pytest.raises(ImpossibleRateError, match=r"about 1[0-9] labelled answers"):
        WorstCaseError.from_labelled(labelled(5, 0, 0, 1), 0.001)
    with pytest.raises(ImpossibleRateError, match="No number of labels helps"):
        WorstCaseError.from_labelled(labelled(5, 10, 0, 1), 0.001)
    with pytest.raises(ImpossibleRateError, match="no labelled answers that are not 'harmless'"):
        ClassConditionalError.from_labelled(labelled(50, 0, 0, 0), 0.001)
    with pytest.raises(ImpossibleRateError, match="sum to less than 1"):
        ClassConditionalError.from_labelled(labelled(2, 3, 60, 3), 0.05, estimate_missed=True)
    with pytest.raises(ImpossibleRateError, match="below 1/2"):
        SymmetricError.from_labelled(labelled(2, 60, 60, 2), 0.001)
    with pytest.raises(ImpossibleRateError, match="no part in the choice"):
        WorstCaseError.from_labelled(labelled(500, 1, 1, 500, held_out=False), 0.001)


def test_the_remedy_would_do() -> None:
    with pytest.raises(ImpossibleRateError) as refusal:
        WorstCaseError.from_labelled(labelled(3, 2, 0, 1), 0.001)
    enough = int(str(refusal.value).split("about ")[1].split()[0])
    errors = math.ceil(2 * enough / 6)
    assert WorstCaseError.from_labelled(labelled(enough - errors, errors, 0, 0), 0.001).rate_upper < 0.5


def test_answers_are_counted_once_per_request() -> None:
    rows = [
        ("r1", "harmless", "harmless"),
        ("r2", "harmful", "harmless"),
        ("r3", "harmless", "failed"),
        ("r4", "harmful", "harmful"),
        ("r5", "harmful", "failed"),
    ]
    labels = LabelledAnswers.count(rows, "harmless", population="test", vlm="model", held_out=True)
    assert (labels.said_a_is_a, labels.said_a_is_other, labels.said_other_is_a, labels.said_other_is_other) == (
        1,
        1,
        1,
        2,
    )
    assert (labels.requests, labels.are_a, labels.are_other) == (5, 2, 3)
    again = LabelledAnswers.count(rows[::-1], "harmless", population="test", vlm="model", held_out=True)
    assert again.labels_sha256 == labels.labels_sha256
    other = LabelledAnswers.count(rows[1:], "harmless", population="test", vlm="model", held_out=True)
    assert other.labels_sha256 != labels.labels_sha256
    with pytest.raises(ValueError, match="6 answers to 5 requests"):
        LabelledAnswers.count([*rows, rows[0]], "harmless", population="test", vlm="model", held_out=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (1, " 1\n"),
        ("17.0", 17),
        (2.0, "2"),
        (1e16, 10**16),
        (b"r1", "r1"),
        (("chat", 3), ("chat", "3")),
        ("caf\u00e9", "cafe\u0301"),
        (float("nan"), float("nan")),
        (np.int64(4), "4"),
    ],
)
def test_one_request_that_was_written_in_two_ways_counts_once(one: Hashable, other: Hashable) -> None:
    rows = [(one, "harmless", "harmless"), (other, "harmless", "harmless")]
    with pytest.raises(ValueError, match="2 answers to 1 requests"):
        LabelledAnswers.count(rows, "harmless", population="test", vlm="model", held_out=True)
    hashes = {
        LabelledAnswers.count([row], "harmless", population="test", vlm="model", held_out=True).labels_sha256
        for row in rows
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 2), ("1_0", "10"), ("01", "1"), ("1.5", "1"), (("a", "b,c"), ("a,b", "c")), ("v1.0", "v1"), (-1, 1)],
)
def test_other_requests_are_others(one: Hashable, other: Hashable) -> None:
    rows = [(one, "harmless", "harmless"), (other, "harmless", "harmless")]
    assert LabelledAnswers.count(rows, "harmless", population="test", vlm="m", held_out=True).requests == 2


def test_many_answers_to_few_requests_are_not_that_many_labels() -> None:
    # 50 answers to each of 4 requests: if the judge errs on half of the *requests*, one in sixteen such sets shows no
    # error in 200 answers, and a bound at 0.01 on them would exclude the truth. Hence the refusal above.
    no_error = 0.5**4
    assert clopper_pearson_upper(0, 200, ALPHA_ORACLE) < 0.5
    assert no_error > 5 * ALPHA_ORACLE


# ---------------------------------------------------------------------------------------------------- serialisation


@given(models)
def test_json_round_trip_is_exact(model: OracleError) -> None:
    adapter: TypeAdapter[OracleError] = TypeAdapter(OracleError)
    assert adapter.validate_json(adapter.dump_json(model)) == model
    assert type(adapter.validate_json(adapter.dump_json(model))) is type(model)


def test_json_round_trip_with_labels_and_refusal_of_tampered_rates() -> None:
    adapter: TypeAdapter[OracleError] = TypeAdapter(OracleError)
    model = WorstCaseError.from_labelled(labelled(480, 3, 5, 512), ALPHA_ORACLE)
    text = adapter.dump_json(model)
    assert adapter.validate_json(text) == model
    with pytest.raises(ValidationError):
        adapter.validate_json(b'{"kind":"worst_case","rate_upper":0.7}')
    with pytest.raises(ValidationError):
        adapter.validate_json(b'{"kind":"optimist"}')


def test_names_and_assumptions_carry_the_rates() -> None:
    assert SymmetricError(rate_lower=0.1).name == "symmetric(rate≥0.1)"
    assert ClassConditionalError(false_a_upper=0.2).name == "class_conditional(false_a≤0.2, missed_a≥0.0)"
    assert WorstCaseError(rate_upper=0.05).name == "worst_case(rate≤0.05)"
    assert UnknownSymmetricError().name == "unknown_symmetric"
    assert "0.05" in WorstCaseError(rate_upper=0.05).assumption
    assert "asserted" in UnknownSymmetricError().assumption
