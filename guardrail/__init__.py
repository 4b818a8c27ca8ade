"""Certified safety verdicts on the image inputs of chat applications, by randomized smoothing (arXiv 2509.16088)."""

from guardrail.certify.certificate import Certificate, Verdict
from guardrail.certify.options import Smoothing
from guardrail.certify.smoothing import SmoothedClassifier
from guardrail.factories.own import factory
from guardrail.guard import Guard
from guardrail.images.limits import ImageLimits
from guardrail.images.pictures import InputImage
from guardrail.policy import Action, Decision, Policy, Reason
from guardrail.prompts import ImagePlace, Prompt, Turn
from guardrail.version import __version__ as __version__

__all__ = [
    "Action",
    "Certificate",
    "Decision",
    "Guard",
    "ImageLimits",
    "ImagePlace",
    "InputImage",
    "Policy",
    "Prompt",
    "Reason",
    "SmoothedClassifier",
    "Smoothing",
    "Turn",
    "Verdict",
    "factory",
]
