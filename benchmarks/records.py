"""The audit of a server: every call must be in it."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from authz_server.dev.waiting import wait_until
from benchmarks.errors import CannotMeasure

_AUDIT_S = 60.0
_WORKER = re.compile(rb'"worker":(\d+)')
_CALLS = re.compile(rb'"calls":(\d+)')
_SHED = b'"reason":"overloaded"'
_DROPPED = re.compile(rb'"dropped":(\d+)')


def take_records(audit: Path, allowed: bool, calls: int) -> int:
    """Wait for a record of every call, and take the file away; returns how many records were lost.

    Raises CannotMeasure where there are fewer.
    """
    decision = b'"decision":"allow"' if allowed else b'"decision":"deny"'
    records = _complete(audit, decision, calls)
    # The server opens a fresh file, as it does for any program that rotates its audit.
    audit.unlink()
    return _lost(records)


def take_shed(audit: Path, calls: int) -> int:
    """Wait until every call is on record, and take the file away; returns how many were denied for want of time.

    Raises CannotMeasure where there are fewer.
    """
    records = b""

    def complete() -> bool:
        nonlocal records
        records = audit.read_bytes() if audit.exists() else b""
        return sum(map(int, _CALLS.findall(records))) + _lost(records) >= calls

    _wait(complete, lambda: sum(map(int, _CALLS.findall(records))), calls)
    audit.unlink()
    return sum(int(shed) for line in records.splitlines() if _SHED in line for shed in _CALLS.findall(line))


def take_calls_of_workers(audit: Path, calls: int) -> Counter[int]:
    """Wait for a record of every call, and take the file away; returns how many each worker has made, by slot."""
    records = _complete(audit, b'"decision":"allow"', calls)
    audit.unlink()
    return Counter(map(int, _WORKER.findall(records)))


def _complete(audit: Path, decision: bytes, calls: int) -> bytes:
    records = b""

    def complete() -> bool:
        nonlocal records
        records = audit.read_bytes() if audit.exists() else b""
        return records.count(decision) + _lost(records) >= calls

    _wait(complete, lambda: records.count(decision), calls)
    return records


def _wait(complete: Callable[[], bool], found: Callable[[], int], calls: int) -> None:
    try:
        wait_until(complete, _AUDIT_S, "the audit")
    except TimeoutError:
        raise CannotMeasure(f"the audit has {found()} of {calls} records") from None


def _lost(records: bytes) -> int:
    return sum(int(dropped) for dropped in _DROPPED.findall(records))
