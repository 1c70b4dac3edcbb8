"""Domains of knobs, and the knobs that every strategy shares."""

from spaces.adapter import Adapter
from spaces.domains import Domain, Knob, OneOf, Space, knob, knobs_of
from spaces.errors import InputError, unknown
from spaces.training import Training

__all__ = [
    "Adapter",
    "Domain",
    "InputError",
    "Knob",
    "OneOf",
    "Space",
    "Training",
    "knob",
    "knobs_of",
    "unknown",
]
