"""Counts what one candidate decides differently, alike ones together, within bounds."""

from collections import Counter

from msgspec.structs import replace

from authz_server.bounds import MIB, Bound
from authz_server.control.findings import Findings, Flip
from authz_server.policy.plan import Plan
from authz_server.replay.flips import Change, Kind, kind_of
from authz_server.replay.judge import Outcome, recorded_outcome
from authz_server.replay.recorded import Recorded, RecordedComparison
from authz_server.replay.routes import Routes

KINDS = 500
"""For each change: what many clients try must not hide what closes or opens."""
FLIPS = Bound(
    "flips of the candidate",
    "server",
    entries=3 * KINDS,
    bytes=8 * MIB,
    holds="The kinds of decisions that the candidate makes differently, each with an example record; on disk as well.",
    full="Decisions of further kinds are counted as `more`.",
    kept_in=("FlipTally._flips", "FlipTally._kinds", "FlipTally.more"),
)
_PATHS = 2000
"""That are remembered with their routes."""
_OVERHEAD = 600
"""Bytes of a kind beside its example, about."""


class FlipTally:
    """The flips between two revisions."""

    def __init__(self, plan: Plan, candidate: Plan, known: Findings) -> None:
        """`plan` is in force; what is `known` of these two goes on."""
        self._pair = (known.revision, known.candidate)
        self._routes = Routes(plan, candidate, remembered=_PATHS)
        self._flips: dict[Kind, Flip] = {}
        self._kinds: Counter[Change] = Counter()
        self._bytes = 0
        self.more: Counter[Change] = Counter(known.more)
        """How many records are of kinds that found no room."""
        for flip in known.flips:
            self._keep(flip)

    @property
    def flips(self) -> tuple[Flip, ...]:
        """All that are kept."""
        return tuple(self._flips.values())

    def add(self, record: Recorded, line: bytes) -> bool:
        """Count the record, of which this is the line, if it is about these two revisions; whether it is."""
        if record.compared is None:
            return False
        mine, other = (record.revision, recorded_outcome(record)), (record.compared.revision, _said(record.compared))
        # Where the candidate has decided, the others are those in force.
        before, after = (other, mine) if record.policies == "candidate" else (mine, other)
        if (before[0], after[0]) != self._pair:
            return False
        kind = kind_of(record, before[1], after[1], self._routes)
        known = self._flips.get(kind)
        if known is not None:
            first, last = min(known.first, record.time), max(known.last, record.time)
            self._flips[kind] = replace(known, records=known.records + 1, first=first, last=last)
        elif self._kinds[kind.change] < KINDS and self._bytes + len(line) + _OVERHEAD <= FLIPS.bytes:
            self._keep(Flip(kind, 1, record.time, record.time, line))
        else:
            self.more[kind.change] += 1
        return True

    def _keep(self, flip: Flip) -> None:
        self._flips[flip.kind] = flip
        self._kinds[flip.kind.change] += 1
        self._bytes += len(flip.example) + _OVERHEAD


def _said(compared: RecordedComparison) -> Outcome:
    return Outcome(compared.decision == "allow", compared.reason, compared.rule, compared.would_deny)
