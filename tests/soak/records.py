"""The audit, read while it is written."""

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]

KEPT = 50_000
"""Records that wait for their answers; those of answers that were lost wait in vain."""


class AuditReader:
    """Gives the whole lines that have come since the last look, whatever is cut, put aside or written again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._inode = 0

    def read(self) -> Iterator[Record]:
        """The new records; some may come twice."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            info = self._path.stat()
            if info.st_ino != self._inode or info.st_size < self._offset:
                self._inode, self._offset = info.st_ino, 0
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)


class Records:
    """Records by the ids that clients learn, so many at most."""

    def __init__(self) -> None:
        self._by_decision: OrderedDict[str, Record] = OrderedDict()
        self._by_request: OrderedDict[str, list[Record]] = OrderedDict()
        self.dropped = 0
        """Decisions whose records are lost, as the audit itself says."""
        self.gaps = 0

    def add(self, records: Iterable[Record]) -> None:
        """Keep these."""
        for record in records:
            if record["type"] == "gap":
                self.gaps += 1
                self.dropped += record["dropped"] or 0
                continue
            self._by_decision[record["decision_id"]] = record
            if record["request_id"]:
                self._by_request.setdefault(record["request_id"], []).append(record)
        for kept in (self._by_decision, self._by_request):
            while len(kept) > KEPT:
                kept.popitem(last=False)

    def forget_gaps(self) -> None:
        """They are counted again, each once."""
        self.gaps = self.dropped = 0

    def of(self, decision_id: str | None, request_id: str | None) -> Record | None:
        """That of a denial, or of an allowed request: Envoy may have asked twice, and got one of the answers."""
        if decision_id is not None:
            return self._by_decision.get(decision_id)
        several = self._by_request.get(request_id or "", [])
        return next((record for record in several if record["decision"] == "allow"), None)

    def denied(self, request_id: str | None) -> Record | None:
        """A denial on record of a request that reached the service."""
        return next(iter(self._by_request.get(request_id or "", [])), None)
