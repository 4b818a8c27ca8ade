"""Statistics of certificates: pure functions of counts, without torch and without models."""

from guardrail.statistics.clopper_pearson import certified_radius, clopper_pearson_lower, clopper_pearson_upper

__all__ = ["certified_radius", "clopper_pearson_lower", "clopper_pearson_upper"]
