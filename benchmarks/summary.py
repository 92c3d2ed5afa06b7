"""Everything that a run has found."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from benchmarks.figures import Figures
from benchmarks.measurement import Measurement
from benchmarks.rounds import Samples
from benchmarks.targets import Target


class Summary(Struct, frozen=True):
    """What is shown and kept."""

    machine: Mapping[str, str]
    rounds: int
    calls: Mapping[int, int]
    """Calls of one round, by how many were in flight."""
    figures: Sequence[Figures]
    measurements: Sequence[Measurement]
    targets: Sequence[Target]
    samples: Samples


def as_json(summary: Summary) -> bytes:
    """The same for machines."""
    return msgspec.json.format(msgspec.json.encode(summary)) + b"\n"
