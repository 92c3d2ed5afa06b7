"""What is to be reached, and whether it was."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from benchmarks.beside_candidate import candidate_name
from benchmarks.caller import TIMEOUT_S
from benchmarks.loading import LOADING
from benchmarks.measurement import Measurement, Spread, spread
from benchmarks.overload import growth_name, lost_name, p99_name, recovery_name, wrong_name
from benchmarks.ratios import RATIOS
from benchmarks.reloading import memory_name, slowdown_name
from benchmarks.starting import MEMORY, START
from benchmarks.through_envoy import GRPCIO, LEAN, adds_name
from benchmarks.two_workers import cpu_name, share_name
from benchmarks.workloads import TRANSPORTS

BOUNDS: Mapping[str, float] = {
    **{ratio.name: ratio.most for ratio in RATIOS},
    LOADING: 1.0,
    START: 3.0,
    MEMORY: 200.0,
    **{adds_name(server, 1): most for server, most in ((GRPCIO, 1.35), (LEAN, 0.8))},
    **{cpu_name(transport): 1.25 for transport in TRANSPORTS},
    **{candidate_name(transport): 1.35 for transport in TRANSPORTS},
    **{share_name(transport): 60.0 for transport in TRANSPORTS},
    **{slowdown_name(transport): 2.0 for transport in TRANSPORTS},
    **{memory_name(transport): 300.0 for transport in TRANSPORTS},
    lost_name("lean"): 65.0,
    lost_name("grpcio"): 40.0,
    **{p99_name(transport): TIMEOUT_S * 1e3 for transport in TRANSPORTS},
    **{recovery_name(transport): 2.0 for transport in TRANSPORTS},
    **{wrong_name(transport): 0.0 for transport in TRANSPORTS},
    **{growth_name(transport): 32.0 for transport in TRANSPORTS},
}
"""Name of a measurement -> the most that its median may be."""


class Target(Struct, frozen=True):
    """An upper bound, and what was measured."""

    name: str
    bound: float
    unit: str
    measured: Spread
    met: bool
    """Whether the median is within the bound."""


def targets(found: Sequence[Measurement], bounds: Mapping[str, float]) -> Iterator[Target]:
    """Those of what was measured that have a bound."""
    for each in found:
        if each.name in bounds:
            bound, measured = bounds[each.name], spread(each.values)
            yield Target(each.name, bound, each.unit, measured, measured.median <= bound)
