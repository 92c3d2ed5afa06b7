"""CPU of workloads as multiples of that of others."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from benchmarks.measurement import Measurement
from benchmarks.rounds import Samples
from benchmarks.workloads import (
    ALL_100,
    ALL_10000,
    DENIAL,
    MANY_TOKENS,
    ONE_TOKEN,
    RBAC,
    SPREAD_100,
    SPREAD_10000,
    USER,
    Workload,
    at,
    constant,
    name,
)


class Ratio(Struct, frozen=True):
    """Two workloads, by name, and what one may cost as a multiple of the other."""

    of: str
    to: str
    most: float

    @property
    def name(self) -> str:
        """What is shown."""
        return f"{self.of} / {self.to}"


RATIOS = (
    Ratio(name(RBAC, "grpcio", 32), constant(32), 1.25),
    Ratio(name(USER, "grpcio", 32), constant(32), 1.45),
    Ratio(name(DENIAL, "grpcio", 32), constant(32), 1.45),
    Ratio(name(RBAC, "grpcio", 1), constant(1), 1.25),
    Ratio(name(USER, "grpcio", 1), constant(1), 1.4),
    Ratio(name(USER, "lean", 32), constant(32), 0.72),
    Ratio(name(USER, "lean", 1), constant(1), 0.84),
    Ratio(name(SPREAD_10000, "lean"), name(SPREAD_100, "lean"), 1.05),
    Ratio(name(ALL_10000, "lean"), name(ALL_100, "lean"), 1.2),
    Ratio(name(MANY_TOKENS, "lean"), name(ONE_TOKEN, "lean"), 1.1),
)


def ratios_against(revision: str, workloads: Sequence[Workload]) -> tuple[Ratio, ...]:
    """What each may cost more than at the revision that is compared with."""
    names = {workload.name for workload in workloads}
    return tuple(Ratio(each, at(each, revision), 1.1) for each in sorted(names) if at(each, revision) in names)


def measured_ratios(ratios: Sequence[Ratio], samples: Samples) -> Iterator[Measurement]:
    """Each with one value a round: what else the machine did meets both."""
    for ratio in ratios:
        yield Measurement(ratio.name, "times", cpu_ratios(samples, ratio.of, ratio.to))


def cpu_ratios(samples: Samples, of: str, to: str) -> list[float]:
    """One for each round; none where CPU is not known."""
    pairs = zip(samples[of], samples[to], strict=True)
    return [each.cpu_us / base.cpu_us for each, base in pairs if each.cpu_us and base.cpu_us]
