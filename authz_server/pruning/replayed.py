"""Recorded decisions, held against policies that were narrowed."""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from authz_server.policy.plan import Plan
from authz_server.replay.judge import Judge
from authz_server.replay.recorded import Recorded, Undecidable, read_record

MAX_CLOSED = 100
"""Requests of one rule by which its narrowing is judged."""


class Replayed(Struct):
    """What came of it."""

    records: int = 0
    """That were allowed by the policies as they are."""
    closed: dict[str, list[Recorded]] = {}
    """Rule that allows now -> requests that would be denied, or of which that is not known; the first of them."""
    undecidable: Counter[str] = field(default_factory=Counter)
    """Why it cannot be told -> records of decisions that allowed."""
    first: str = ""
    """The time of the earliest record."""


def replayed(old: Plan, new: Plan, lines: Iterable[bytes], identity_headers: Sequence[str]) -> Replayed:
    """Decide all records that were allowed on both, and see what only the old policies allow."""
    judges = Judge(old, identity_headers), Judge(new, identity_headers)
    found = Replayed()
    for line in lines:
        if not line.strip():
            continue
        try:
            record = read_record(line)
        except Undecidable:
            continue
        if record.decision != "allow":
            continue
        found.records += 1
        found.first = min(found.first or record.time, record.time)
        if allows(judges[1], record):
            continue
        before = judges[0].outcome(record)
        if isinstance(before, Undecidable):
            found.undecidable[f"{before.why} {before.missing}".strip()] += 1
        elif before.allowed:
            closed = found.closed.setdefault(before.rule or "", [])
            if len(closed) < MAX_CLOSED:
                closed.append(record)
    return found


def allows(judge: Judge, record: Recorded) -> bool:
    """Whether policies allow a recorded request for certain."""
    outcome = judge.outcome(record)
    return not isinstance(outcome, Undecidable) and outcome.allowed


def told_of(record: Recorded) -> str:
    """A record in words."""
    return f"{record.method} https://{record.host}{record.path} of {record.time[:10]}"
