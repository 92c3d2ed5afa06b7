"""Decisions that other policies make differently: alike ones together, counted, with an example."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from authz_server.policy.plan import Plan
from authz_server.replay.judge import Judge, Outcome, recorded_outcome
from authz_server.replay.recorded import Recorded, Undecidable, read_record
from authz_server.replay.routes import Routes

Change = Literal["closed", "opened", "other"]
"""ALLOW to DENY, DENY to ALLOW, another rule or reason."""
CHANGES: tuple[Change, ...] = get_args(Change)


class Kind(NamedTuple):
    """What is alike."""

    change: Change
    before: Outcome
    after: Outcome
    caller: str
    route: str


class Flips:
    """How often one kind of flip is on record."""

    def __init__(self, kind: Kind, example: Recorded) -> None:
        self.kind = kind
        self.example = example
        """The first of them."""
        self.count = 0
        self.first = self.last = example.time


class Tally:
    """What came of the records that were replayed."""

    def __init__(self) -> None:
        self.records = 0
        self.same = 0
        self.undecidable: Counter[tuple[str, str]] = Counter()
        """(why, what is missing) -> records."""
        self._flips: dict[Kind, Flips] = {}

    @property
    def flips(self) -> list[Flips]:
        """Those that close first, then those that open; the most frequent first."""
        return in_order(self._flips.values())

    def flipped(self, kind: Kind, record: Recorded) -> None:
        """Count one record."""
        flips = self._flips.get(kind)
        if flips is None:
            flips = self._flips[kind] = Flips(kind, record)
        flips.count += 1
        flips.last = max(flips.last, record.time)
        if record.time < flips.first:
            flips.first, flips.example = record.time, record

    def changed(self, change: Change) -> int:
        """How many records have changed in this way."""
        return sum(flips.count for flips in self._flips.values() if flips.kind.change == change)


class Replay:
    """Takes the lines of the audit, and tallies what the policies make of them."""

    def __init__(self, plan: Plan) -> None:
        self.judge = Judge(plan)
        self.tally = Tally()
        self._routes = Routes(plan)

    def take(self, lines: Iterable[bytes]) -> None:
        """Replay some lines; empty ones are none."""
        for line in lines:
            if line.strip():
                self._take(line)

    def _take(self, line: bytes) -> None:
        tally = self.tally
        tally.records += 1
        try:
            record = read_record(line)
        except Undecidable as error:
            tally.undecidable[error.why, error.missing] += 1
            return
        after = self.judge.outcome(record)
        if isinstance(after, Undecidable):
            tally.undecidable[after.why, after.missing] += 1
            return
        before = recorded_outcome(record)
        if before == after:
            tally.same += 1
            return
        tally.flipped(kind_of(record, before, after, self._routes), record)


def in_order(flips: Iterable[Flips]) -> list[Flips]:
    """Those that close first, then those that open; the most frequent first."""

    def place(flips: Flips) -> tuple[object, ...]:
        kind = flips.kind
        return CHANGES.index(kind.change), -flips.count, flips.first, kind.caller, kind.route, kind.after.reason

    return sorted(flips, key=place)


def kind_of(record: Recorded, before: Outcome, after: Outcome, routes: Routes) -> Kind:
    """The kind of flip that a record is, if its outcome changes so."""
    return Kind(_change(before, after), before, after, _caller(record), routes.of(record))


def _change(before: Outcome, after: Outcome) -> Change:
    if before.allowed is after.allowed:
        return "other"
    return "opened" if after.allowed else "closed"


def _caller(record: Recorded) -> str:
    """Workload, and whose user: users are many."""
    workload = record.workload or "no workload"
    return workload if record.user is None else f"{workload}, user of {record.user.issuer}"
