"""What audit files tell of the use of policies, as a server would have counted it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from authz_server.control.revisions import NoRevision, Revisions
from authz_server.policy.loader import load_files
from authz_server.policy.plan import Plan
from authz_server.replay.files import STDIN, lines_of
from authz_server.usage.counting import Counting
from authz_server.usage.state import State

Plans = Callable[[str], Plan | None]
"""The policies of a revision; None where they are not kept."""
_SWITCH_S = 5.0
"""For so long some workers may still decide by the revision of before."""


class _Head(Struct):
    """What a line of the audit says of the policies that decided."""

    time: datetime
    type: str
    revision: str | None = None
    policies: str | None = None


_decoder = msgspec.json.Decoder(_Head)


class RecordedUsage:
    """Counts the lines of audit files, in the order of time."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._counting: Counting | None = None
        self._now = self._before = self._candidate = ""
        self._since = 0.0
        self.not_kept: dict[str, None] = {}
        """Revisions that decided, and are not kept."""

    @property
    def state(self) -> State | None:
        """What was counted; None where there was no record."""
        return None if self._counting is None else self._counting.state

    def take(self, lines: Iterable[bytes]) -> None:
        """Count some lines; what is no record is left out."""
        for line in lines:
            try:
                head = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            time = head.time.timestamp()
            if self._counting is None:
                self._counting = Counting(State(began=time))
            if head.type == "decision" and head.revision:
                if head.policies == "candidate":
                    self._follow_candidate(head.revision, self._counting)
                elif head.revision != self._now:
                    self._follow(head.revision, time, self._counting)
            self._counting.add([line])

    def _follow(self, revision: str, time: float, counting: Counting) -> None:
        """Go on with another revision, unless it is that of before, which a worker had a moment longer."""
        if revision == self._before and time - self._since < _SWITCH_S:
            return
        self._before, self._now, self._since = self._now, revision, time
        plan = self._plans(revision)
        if plan is None:
            # Nobody knows what was in force, so from here on nothing was unused without a break.
            self.not_kept[revision] = None
            counting.interrupt()
        else:
            counting.take_up(plan, time)

    def _follow_candidate(self, revision: str, counting: Counting) -> None:
        if revision != self._candidate:
            self._candidate = revision
            counting.take_up_candidate(self._plans(revision))


def in_order(files: Sequence[Path]) -> list[Path]:
    """The files by the time of their first records. Raises OSError, EOFError."""
    return sorted(files, key=lambda path: "" if path == STDIN else _begin(path))


def _begin(path: Path) -> str:
    for line in lines_of(path, lambda _: None):
        try:
            return _decoder.decode(line).time.isoformat()
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return ""


def plans_of(directory: Path, present: Plan, kept: Sequence[Revisions]) -> Plans:
    """The policies that are `present` in the directory, and those of it that are kept."""

    def plan(wanted: str) -> Plan | None:
        if wanted == present.revision:
            return present
        for revisions in kept:
            with suppress(NoRevision):
                return load_files(directory, revisions.read(wanted).files, ()).plan
        return None

    return plan
