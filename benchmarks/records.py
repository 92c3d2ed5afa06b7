"""The audit of a server: every call must be in it."""

import re
from pathlib import Path

from authz_server.dev.waiting import wait_until
from benchmarks.errors import CannotMeasure

_AUDIT_S = 60.0
_DROPPED = re.compile(rb'"dropped":(\d+)')


def take_records(audit: Path, allowed: bool, calls: int) -> int:
    """Wait for a record of every call, and take the file away; returns how many records were lost.

    Raises CannotMeasure where there are fewer.
    """
    decision = b'"decision":"allow"' if allowed else b'"decision":"deny"'
    found = lost = 0

    def complete() -> bool:
        nonlocal found, lost
        records = audit.read_bytes() if audit.exists() else b""
        found = records.count(decision)
        lost = sum(int(dropped) for dropped in _DROPPED.findall(records))
        return found + lost >= calls

    try:
        wait_until(complete, _AUDIT_S, "the audit")
    except TimeoutError:
        raise CannotMeasure(f"the audit has {found} of {calls} records") from None
    # The server opens a fresh file, as it does for any program that rotates its audit.
    audit.unlink()
    return lost
