"""Percentiles of latency."""

import pytest

from benchmarks.percentiles import Percentiles, percentiles


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([7.0], Percentiles(7, 7, 7)),
        ([float(value) for value in range(1000, 0, -1)], Percentiles(500, 990, 999)),
        ([1.0] * 99 + [50.0], Percentiles(1, 1, 50)),
    ],
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], found: Percentiles) -> None:
    """The nearest rank, in any order of the values."""
    assert percentiles(values) == found
