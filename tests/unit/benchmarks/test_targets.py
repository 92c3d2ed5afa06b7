"""Judging what was measured."""

from benchmarks.measurement import Measurement
from benchmarks.ratios import RATIOS
from benchmarks.targets import targets
from benchmarks.workloads import WORKLOADS


def test_the_median_decides() -> None:
    """One bad round of three misses no target, two do; what has no bound is not judged."""
    found = [
        Measurement("one", "s", [1.0, 9.0, 2.0]),
        Measurement("two", "s", [1.0, 9.0, 9.0]),
        Measurement("free", "s", [9.0]),
    ]
    assert [(each.name, each.met) for each in targets(found, {"one": 2.0, "two": 2.0})] == [
        ("one", True),
        ("two", False),
    ]


def test_ratios_are_of_workloads_that_are_measured() -> None:
    """Both sides of each are there."""
    names = {workload.name for workload in WORKLOADS}
    assert {name for ratio in RATIOS for name in (ratio.of, ratio.to)} <= names
