"""Recorded decisions, held against policies that were narrowed."""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from authz_server.policy.plan import Plan
from authz_server.replay.judge import Judge
from authz_server.replay.recorded import Recorded, Undecidable, read_record


class Replayed(Struct):
    """What came of it."""

    records: int = 0
    """That were allowed by the policies as they are."""
    closed: dict[str, str] = {}
    """Rule that allows now -> a request that would be denied."""
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
        after = judges[1].outcome(record)
        if not isinstance(after, Undecidable) and after.allowed:
            continue
        before = judges[0].outcome(record)
        if isinstance(before, Undecidable):
            found.undecidable[f"{before.why} {before.missing}".strip()] += 1
        elif isinstance(after, Undecidable):
            # The policies as they are allow it for certain, and nobody knows whether the narrower ones do.
            found.closed.setdefault(before.rule or "", f"{_told(record)}, of which {after.why} {after.missing}".strip())
        elif before.allowed:
            found.closed.setdefault(before.rule or "", _told(record))
    return found


def _told(record: Recorded) -> str:
    return f"{record.method} https://{record.host}{record.path} of {record.time[:10]}"
