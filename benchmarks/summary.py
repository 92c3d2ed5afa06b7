"""Everything that a run has found."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from benchmarks.figures import Figures, figures, spread
from benchmarks.rounds import Samples
from benchmarks.targets import Target, targets, targets_against
from benchmarks.workloads import Workload


class Summary(Struct, frozen=True):
    """What is shown and kept."""

    machine: Mapping[str, str]
    rounds: int
    calls: Mapping[int, int]
    """Calls of one round, by how many were in flight."""
    figures: Sequence[Figures]
    targets: Sequence[Target]
    samples: Samples
    loading_s: Sequence[float]

    @classmethod
    def of(
        cls,
        machine: Mapping[str, str],
        calls: Mapping[int, int],
        workloads: Sequence[Workload],
        samples: Samples,
        loading_s: Sequence[float],
    ) -> "Summary":
        """From the samples of all workloads, and of the times that 1,000 rules took to load.

        Without such times, another revision was compared with.
        """
        found = figures(workloads, samples)
        judged = targets(found, spread(loading_s)) if loading_s else targets_against(found)
        return cls(machine, min(map(len, samples.values())), calls, found, judged, samples, loading_s)


def as_json(summary: Summary) -> bytes:
    """The same for machines."""
    return msgspec.json.format(msgspec.json.encode(summary)) + b"\n"
