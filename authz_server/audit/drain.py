"""Moves records from the rings of the workers to the audit file."""

import time
from collections.abc import Callable

from msgspec import Struct

from authz_server.audit.record import encode_gap
from authz_server.audit.ring import Batch
from authz_server.audit.rings import Rings
from authz_server.audit.writer import AuditWriter


class Drained(Struct, frozen=True):
    """What one round moved."""

    records: int
    """Records of decisions that are now in the audit file."""
    dropped: dict[int, int]
    """Worker slot -> records that it had to drop since the last round, for those that did."""


class Drain:
    """Empties the rings round by round; in one thread."""

    def __init__(self, rings: Rings, writer: AuditWriter, clock: Callable[[], float] = time.time) -> None:
        self._rings = rings
        self._writer = writer
        self._clock = clock

    def drain_once(self) -> Drained:
        """Write what is in the rings, up to 1 MiB of each. Raises OSError when it cannot be written.

        Then nothing was moved, and the records come again in the next round. When the workers are gone, what is left
        is moved by calling this until it moves no records.
        """
        self._writer.sync()
        lost = list(self._rings.unreadable)
        lines = [self._gap(slot, None) for slot in lost]
        read = [(slot, ring, ring.read()) for slot, ring in self._rings]
        for slot, _, batch in read:
            lines += batch.records
            lines += self._gaps(slot, batch)
        if lines:
            self._writer.write(lines)
        del self._rings.unreadable[: len(lost)]
        dropped: dict[int, int] = {}
        for slot, ring, batch in read:
            ring.advance(batch)
            if batch.dropped:
                dropped[slot] = dropped.get(slot, 0) + batch.dropped
        self._rings.remove_finished()
        return Drained(sum(len(batch.records) for _, _, batch in read), dropped)

    def _gaps(self, slot: int, batch: Batch) -> list[bytes]:
        known = [self._gap(slot, batch.dropped)] if batch.dropped else []
        return [*known, self._gap(slot, None)] if batch.damaged else known

    def _gap(self, slot: int, dropped: int | None) -> bytes:
        return encode_gap(self._clock(), worker=slot, dropped=dropped)
