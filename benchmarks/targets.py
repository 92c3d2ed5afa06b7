"""What is to be reached, and whether it was."""

from collections.abc import Sequence

from msgspec import Struct

from benchmarks.figures import Figures, Spread
from benchmarks.workloads import CONSTANT, OURS, OURS_1000, OURS_10000


class Target(Struct, frozen=True):
    """An upper bound, and what was measured."""

    name: str
    bound: float
    unit: str
    measured: Spread
    met: bool
    """Whether the median is within the bound."""


def targets(found: Sequence[Figures], loading: Spread) -> list[Target]:
    """All targets; `loading` is the time in seconds that 1,000 rules take."""
    by_name = {figures.workload: figures for figures in found}
    return [
        _target(f"CPU: {OURS}, against a {CONSTANT}", 1.5, "times", _ratio(by_name[OURS])),
        _target(f"CPU: {OURS_10000}, against {OURS}", 1.1, "times", _ratio(by_name[OURS_10000])),
        _target("loading and checking 1,000 rules, each with a condition", 1.0, "s", loading),
        _target("memory of a worker with 1,000 rules", 100.0, "MiB", by_name[OURS_1000].resident_mib),
    ]


def targets_against(found: Sequence[Figures]) -> list[Target]:
    """What a check may cost more than it did at the revision that is compared with."""
    return [
        _target(f"CPU: {figures.workload}, against {figures.baseline}", 1.1, "times", _ratio(figures))
        for figures in found
        if figures.baseline
    ]


def _target(name: str, bound: float, unit: str, measured: Spread) -> Target:
    return Target(name, bound, unit, measured, measured.median <= bound)


def _ratio(figures: Figures) -> Spread:
    if figures.ratio is None:
        raise ValueError(f"{figures.workload} is a multiple of nothing")
    return figures.ratio
