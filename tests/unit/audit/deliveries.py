"""The audit of one control process, for tests."""

import json
from pathlib import Path
from typing import Any

from authz_server.audit.collector import Collected, Collector
from authz_server.audit.delivery import Delivery
from authz_server.audit.ring import MIN_SIZE
from authz_server.audit.rings import Rings
from authz_server.audit.spool import Spool
from authz_server.audit.writer import AuditWriter

NOW = 1772442000.0


class Audit:
    """Everything of the audit in one directory; several can follow each other, as control processes do."""

    def __init__(self, directory: Path, spool_bytes: int = 1 << 16) -> None:
        self.path = directory / "decisions.jsonl"
        self.rings = Rings(directory / "rings", MIN_SIZE)
        self.writer = AuditWriter(self.path, 1_000_000)
        self.spool = Spool(directory / "decisions.spool", spool_bytes)
        known = self.writer.recent()
        self.collector = Collector(self.rings, self.spool, known, clock=lambda: NOW)
        self.delivery = Delivery(self.spool, self.writer, known, clock=lambda: NOW)

    def drain(self) -> Collected:
        """One round from the rings to the file."""
        collected = self.collector.collect_once()
        self.delivery.deliver_once()
        return collected

    def drain_all(self) -> None:
        """Everything that is there."""
        while self.collector.collect_once().records + self.delivery.deliver_once():
            continue

    def lines(self) -> list[bytes]:
        """What the file holds."""
        return self.path.read_bytes().splitlines()

    def gaps(self) -> list[tuple[int, int | None]]:
        """Worker and number of each gap in the file."""
        records: list[dict[str, Any]] = [json.loads(line) for line in self.lines() if line.startswith(b"{")]
        return [(record["worker"], record["dropped"]) for record in records if record["type"] == "gap"]

    def die(self) -> None:
        """End as a killed process does: nothing is tidied up."""
        self.writer.close()
        self.spool.close()


def moved(records: int, dropped: dict[int, int]) -> Collected:
    """A round in which all had room."""
    return Collected(records, full=False, dropped=dropped, refused=0)
