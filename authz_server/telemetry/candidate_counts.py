"""What workers count of a candidate: in small files of their own, which the control process reads again and again."""

import json
from collections import Counter
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from threading import Lock
from typing import NamedTuple, get_args

from prometheus_client.mmap_dict import MmapedDict

from authz_server.model import Comparison
from authz_server.telemetry import names
from authz_server.telemetry.names import Metric
from authz_server.telemetry.values import ValueFile

# What follows the first underscore is ours: the collector goes by what precedes it.
_FILE = "counter_candidate_{slot}.db"
IN_FORCE, CANDIDATE = "in_force", "candidate"
Key = tuple[str, str]
"""Who decided, and what the candidate changes."""


class CandidateCounts(NamedTuple):
    """What all workers have counted since the server started."""

    checks: Mapping[Key, int]
    seconds: float
    denied_by_both: int = 0
    """Checks that the candidate has decided, and whoever decides denies."""

    @property
    def rolled_out(self) -> int:
        """Checks that the candidate has decided."""
        return sum(count for (decided_by, _), count in self.checks.items() if decided_by == CANDIDATE)

    @property
    def told(self) -> int:
        """Those among them that tell what a roll-out does: anybody can cause as many of the others as they like."""
        return self.rolled_out - self.denied_by_both

    @property
    def closed(self) -> int:
        """Those of `rolled_out` that were denied, and would not have been without the roll-out."""
        return self.checks.get((CANDIDATE, "closed"), 0)


class CandidateCounters:
    """The counters of one worker; from any thread."""

    def __init__(self, directory: Path, slot: int) -> None:
        """Open the file of this slot; what an earlier process counted goes on. Raises OSError."""
        self._lock = Lock()
        self._file = ValueFile(directory / _FILE.format(slot=slot))
        self._cells: dict[tuple[Comparison, bool], int] = {}
        self._seconds: int | None = None
        self._denied_by_both: int | None = None

    def begin(self) -> None:
        """Show them from zero on: the increase to a first sample that is one already would not be seen."""
        with self._lock:
            self._seconds = self._cell(names.CANDIDATE_SECONDS, {})
            self._denied_by_both = self._cell(names.CANDIDATE_DENIED_BY_BOTH, {})
            for outcome, by_candidate in product(get_args(Comparison), (False, True)):
                labels = {names.DECIDED_BY: CANDIDATE if by_candidate else IN_FORCE, names.OUTCOME: outcome}
                cell = self._cell(names.CANDIDATE_DECISIONS, labels)
                if cell is not None:
                    self._cells[outcome, by_candidate] = cell

    def add(self, outcome: Comparison, seconds: float, *, by_candidate: bool, denied_by_both: bool = False) -> None:
        """Count a request about which two policies were asked, or should have been, and the time for the second."""
        with self._lock:
            cell, values = self._cells.get((outcome, by_candidate)), self._file.values
            if cell is not None:
                values[cell] += 1.0
            if self._seconds is not None:
                values[self._seconds] += seconds
            if denied_by_both and self._denied_by_both is not None:
                values[self._denied_by_both] += 1.0

    def close(self) -> None:
        """Close the file; the numbers stay."""
        self._file.close()

    def _cell(self, metric: Metric, labels: Mapping[str, str]) -> int | None:
        return self._file.cell(metric.name.removesuffix("_total"), metric.name, labels, metric.help)


def candidate_counts(directory: Path) -> CandidateCounts:
    """What the workers of a server with this directory of metrics have counted. Blocks. Raises OSError."""
    checks: Counter[Key] = Counter()
    seconds, denied_by_both = 0.0, 0
    for file in directory.glob(_FILE.format(slot="*")):
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
            _, name, labels, _ = json.loads(key)
            if name == names.CANDIDATE_SECONDS.name:
                seconds += value
            elif name == names.CANDIDATE_DENIED_BY_BOTH.name:
                denied_by_both += int(value)
            else:
                checks[labels[names.DECIDED_BY], labels[names.OUTCOME]] += int(value)
    return CandidateCounts(checks, seconds, denied_by_both)
