"""From samples to the figures that are shown."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from benchmarks.measurement import Spread, spread
from benchmarks.measuring import Sample
from benchmarks.ratios import cpu_ratios
from benchmarks.rounds import Samples
from benchmarks.workloads import Workload, constant


class Figures(Struct, frozen=True):
    """What one workload costs."""

    workload: str
    in_flight: int
    cpu_us: Spread | None
    times: Spread | None
    """Its CPU as a multiple of that of the constant answer in the same round."""
    control_cpu_us: Spread | None
    calls_per_s: Spread
    p50_us: Spread
    p99_us: Spread
    p999_us: Spread
    resident_mib: Spread
    records_lost: int


def figures(workloads: Sequence[Workload], samples: Samples) -> list[Figures]:
    """The figures of all workloads, in their order."""
    return [_figures(workload, samples) for workload in workloads]


def _figures(workload: Workload, samples: Samples) -> Figures:
    own = samples[workload.name]

    def over(value: Callable[[Sample], float]) -> Spread:
        return spread([value(sample) for sample in own])

    base = constant(workload.in_flight)
    times = cpu_ratios(samples, workload.name, base) if base in samples and base != workload.name else []
    return Figures(
        workload=workload.name,
        in_flight=workload.in_flight,
        cpu_us=_known([sample.cpu_us for sample in own]),
        times=_known(times),
        control_cpu_us=_known([sample.control_cpu_us for sample in own]),
        calls_per_s=over(lambda sample: sample.calls_per_s),
        p50_us=over(lambda sample: sample.latency_us.p50),
        p99_us=over(lambda sample: sample.latency_us.p99),
        p999_us=over(lambda sample: sample.latency_us.p999),
        resident_mib=over(lambda sample: sample.resident_bytes / 2**20),
        records_lost=sum(sample.records_lost for sample in own),
    )


def _known(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return spread(known) if known else None
