"""The paper's experiments and algorithms, for comparison."""
