"""Certification: noise, draws, counts, a bound, a radius. It knows no store, no policy and no command."""

from guardrail.certify.certificate import Certificate, Verdict
from guardrail.certify.class_rules import ClassRule
from guardrail.certify.noise import NoiseStream
from guardrail.certify.options import Smoothing
from guardrail.certify.smoothing import SmoothedClassifier

__all__ = ["Certificate", "ClassRule", "NoiseStream", "SmoothedClassifier", "Smoothing", "Verdict"]
