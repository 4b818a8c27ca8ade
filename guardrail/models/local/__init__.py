"""Models that run in this process, by transformers and torch."""
