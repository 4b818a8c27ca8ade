"""Statistics of certificates: pure functions of counts, without torch and without models."""

from guardrail.statistics.clopper_pearson import certified_radius, clopper_pearson_lower, clopper_pearson_upper
from guardrail.statistics.oracle_error import (
    ClassConditionalError,
    ContradictedAssumptionError,
    Derivation,
    ImpossibleRateError,
    LabelledAnswers,
    OracleError,
    SymmetricError,
    UnknownSymmetricError,
    WorstCaseError,
    labels_needed,
)
from guardrail.statistics.sequential import (
    ConfidenceSequence,
    FixedSample,
    LowerBound,
    PowerSpending,
    default_looks,
    predictive_probability,
)

__all__ = [
    "ClassConditionalError",
    "ConfidenceSequence",
    "ContradictedAssumptionError",
    "Derivation",
    "FixedSample",
    "ImpossibleRateError",
    "LabelledAnswers",
    "LowerBound",
    "OracleError",
    "PowerSpending",
    "SymmetricError",
    "UnknownSymmetricError",
    "WorstCaseError",
    "certified_radius",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "default_looks",
    "labels_needed",
    "predictive_probability",
]
