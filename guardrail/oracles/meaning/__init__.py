"""Semantic equivalence: classes found among the answers."""
