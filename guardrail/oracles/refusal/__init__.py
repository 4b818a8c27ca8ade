"""Is an answer a refusal?"""

from guardrail.oracles.refusal.oracle import RefusalOracle

__all__ = ["RefusalOracle"]
