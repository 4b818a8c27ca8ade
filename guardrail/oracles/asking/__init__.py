"""Oracles that ask a model."""
