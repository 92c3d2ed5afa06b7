"""What calls take: not the mean, which says little to the one who waits."""

from collections.abc import Sequence

from msgspec import Struct


class Percentiles(Struct, frozen=True):
    """Of what calls take, in microseconds."""

    p50: float
    p99: float
    p999: float


def percentiles(values: Sequence[float]) -> Percentiles:
    """Of one value or more: each is the smallest value that so many of all do not exceed."""
    ordered = sorted(values)

    def reached_by(thousandths: int) -> float:
        return ordered[max(0, -(-len(ordered) * thousandths // 1000) - 1)]

    return Percentiles(p50=reached_by(500), p99=reached_by(990), p999=reached_by(999))
