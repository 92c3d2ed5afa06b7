"""What has been found of a candidate: what it decided differently, on disk for `authz candidate`."""

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct, field

from authz_server.bounds import MIB
from authz_server.control.checked_file import NothingKept, read_checked, write_checked
from authz_server.control.settings import Settings
from authz_server.replay.flips import CHANGES, Change, Kind
from authz_server.telemetry.candidate_counts import CandidateCounts

FILE = "candidate.findings"
"""In the run directory."""
COMPARED = ("same", *CHANGES)
_FORMAT = b"authz-server candidate findings, format 1\n"
_MAX_BYTES = 16 * MIB
_ID_DIGITS = 10


class Flip(Struct, frozen=True):
    """One kind of flip."""

    kind: Kind
    records: int
    first: str
    """When, RFC 3339."""
    last: str
    example: bytes
    """The record that was counted first."""

    @property
    def id(self) -> str:
        """The same for the same kind, always and everywhere."""
        return sha256(msgspec.json.encode(self.kind)).hexdigest()[:_ID_DIGITS]

    @property
    def rules(self) -> frozenset[str]:
        """The rules that decide, before and after."""
        return frozenset(rule for rule in (self.kind.before.rule, self.kind.after.rule) if rule is not None)


class Counted(NamedTuple):
    """What workers have counted."""

    checks: Mapping[str, int]
    """What the candidate changes, as the metric names it -> checks."""
    seconds: float
    """That it took to ask the policies that do not decide."""
    rolled_out: int = 0
    """Checks that the candidate has decided."""


def counted(counts: CandidateCounts) -> Counted:
    """The same, as it is counted: whoever decides, of one kind."""
    checks: Counter[str] = Counter()
    for (_, outcome), count in counts.checks.items():
        checks[outcome] += count
    return Counted(checks, counts.seconds, counts.rolled_out)


class Findings(Struct, frozen=True):
    """What one candidate decides differently than the policies in force."""

    revision: str
    """In force."""
    candidate: str
    """Its revision."""
    since: float
    """When it began to be judged, in seconds since the epoch."""
    flips: tuple[Flip, ...] = ()
    more: Mapping[Change, int] = field(default_factory=dict)
    """How many decisions changed like this whose kind found no room."""
    counted: Counted = Counted({}, 0.0)
    lost: int = 0
    """Records that the audit has lost since, at least; some may have told of a flip."""

    @property
    def is_in_force(self) -> bool:
        """Whether there is nothing to compare."""
        return self.revision == self.candidate

    @property
    def untold(self) -> Mapping[Change, int]:
        """How many checks changed like this, and no record tells of them: of any such, or where records were lost.

        Where none was lost, the records of some are on their way.
        """
        told = Counter(self.more)
        for flip in self.flips:
            told[flip.kind.change] += flip.records
        left = {change: self.counted.checks.get(change, 0) - told[change] for change in CHANGES}
        return {change: count for change, count in left.items() if count > 0 and (self.lost or not told[change])}

    @property
    def compared(self) -> int:
        """How many checks both were asked about."""
        return sum(self.counted.checks.get(outcome, 0) for outcome in COMPARED)


class FindingsFile:
    """One file, of one server. Its methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, findings: Findings) -> None:
        """Replace what is there in one step. Raises OSError."""
        write_checked(self.path, _FORMAT, msgspec.msgpack.encode(findings))

    def read(self) -> Findings:
        """What is there. Raises NothingKept."""
        payload = read_checked(self.path, _FORMAT, _MAX_BYTES)
        try:
            return msgspec.msgpack.decode(payload, type=Findings)
        except msgspec.MsgspecError as error:
            raise NothingKept(f"it cannot be read: {error}") from None

    def remove(self) -> None:
        """Keep nothing. Raises OSError."""
        self.path.unlink(missing_ok=True)


def findings_file(settings: Settings) -> FindingsFile:
    """Where a server with these settings keeps them."""
    return FindingsFile(settings.run_directory / FILE)
