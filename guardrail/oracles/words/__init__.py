"""Oracles that look for words."""
