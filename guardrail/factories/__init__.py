"""Models, oracles and stores that settings name: one's own as `module:object`, and the house's by their names."""

from guardrail.factories.own import factory

__all__ = ["factory"]
