"""How often chance is tried: as often as CI does, or a multiple of it (`make test-long`: ten times).

Tests that scale so carry the mark `simulation`.
"""

import os

SCALE = int(os.environ.get("SIMULATION_SCALE", "1"))


def simulations(number: int) -> int:
    """Return how many there are of what CI runs `number` of."""
    return SCALE * number
