"""A thing that was measured several times."""

from collections.abc import Sequence
from statistics import median

from msgspec import Struct


class Measurement(Struct, frozen=True):
    """Whatever is not a workload's."""

    name: str
    unit: str
    values: Sequence[float]
    """One or more."""


class Spread(Struct, frozen=True):
    """A figure over all rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The middle and the extremes of one value or more."""
    return Spread(median(values), min(values), max(values))
