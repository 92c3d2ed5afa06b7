"""From samples to the figures that are shown and judged."""

from collections.abc import Callable, Sequence
from statistics import median

from msgspec import Struct

from benchmarks.measuring import Sample
from benchmarks.rounds import Samples
from benchmarks.workloads import Workload


class Spread(Struct, frozen=True):
    """A figure over all rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The middle and the extremes of one value or more."""
    return Spread(median(values), min(values), max(values))


class Figures(Struct, frozen=True):
    """What one workload costs."""

    workload: str
    cpu_us: Spread
    baseline: str
    """The workload that it is compared with; empty for none."""
    ratio: Spread | None
    """Of its CPU to that of its baseline in the same round."""
    control_cpu_us: Spread | None
    calls_per_s: Spread
    latency_us: Spread
    resident_mib: Spread
    records_lost: int


def figures(workloads: Sequence[Workload], samples: Samples) -> list[Figures]:
    """The figures of all workloads, in their order."""
    return [_figures(workload, samples) for workload in workloads]


def _figures(workload: Workload, samples: Samples) -> Figures:
    own = samples[workload.name]

    def over(value: Callable[[Sample], float]) -> Spread:
        return spread([value(sample) for sample in own])

    control = [sample.control_cpu_us for sample in own if sample.control_cpu_us is not None]
    pairs = zip(own, samples[workload.baseline], strict=True) if workload.baseline else ()
    ratios = [sample.cpu_us / base.cpu_us for sample, base in pairs]
    return Figures(
        workload=workload.name,
        cpu_us=over(lambda sample: sample.cpu_us),
        baseline=workload.baseline,
        ratio=spread(ratios) if ratios else None,
        control_cpu_us=spread(control) if control else None,
        calls_per_s=over(lambda sample: sample.calls_per_s),
        latency_us=over(lambda sample: sample.latency_us),
        resident_mib=over(lambda sample: sample.resident_bytes / 2**20),
        records_lost=sum(sample.records_lost for sample in own),
    )
