"""Moves records from the rings of the workers to the spool."""

import time
from collections.abc import Callable

from msgspec import Struct

from authz_server.audit.record import encode_gap
from authz_server.audit.ring import Batch, RingConsumer
from authz_server.audit.rings import Rings
from authz_server.audit.spool import BATCH_BYTES, Spool


class Collected(Struct, frozen=True):
    """What one round found in the rings."""

    records: int
    """Records that are now in the spool, or were left out."""
    full: bool
    """The spool had no room for records that must not be lost."""
    dropped: dict[int, int]
    """Worker slot -> records that were lost since the last round, for those that lost some."""
    refused: int
    """Requests that were denied since then because there was no room for their records."""


class Collector:
    """Empties the rings round by round; in one thread."""

    def __init__(
        self, rings: Rings, spool: Spool, known: list[bytes] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """`known` are lines that the audit file has: with those of the spool, they are not collected again."""
        self._rings = rings
        self._spool = spool
        # A killed control process may have put records into the spool, and left them in their ring.
        self._known = frozenset([*(known or []), *spool.newest])
        self._clock = clock
        self._max_batch = min(BATCH_BYTES, spool.size // 8)
        self._dropped: dict[RingConsumer, int] = {}
        self._refused: dict[RingConsumer, int] = {ring: ring.refused for _, ring in rings}

    def collect_once(self) -> Collected:
        """Move what is in the rings, up to 1 MiB of each. Raises OSError when the spool cannot be written.

        What was not moved comes again in the next round. When the workers are gone, what is left is moved by calling
        this until it moves no records.
        """
        records, full = 0, False
        dropped: dict[int, int] = {}
        refused = 0
        while self._rings.unreadable and self._spool.put([self._gap(self._rings.unreadable[0], None)], 0):
            del self._rings.unreadable[0]
        for slot, ring in self._rings:
            batch = ring.read(self._max_batch)
            moved, left_out = self._move(slot, ring, batch)
            records += len(batch.records) if moved else 0
            full = full or not moved
            if lost := left_out + self._newly_dropped(ring, batch):
                dropped[slot] = dropped.get(slot, 0) + lost
            refused += ring.refused - self._refused.get(ring, 0)
            self._refused[ring] = ring.refused
        if not full:
            self._known = frozenset()
        for ring in self._rings.remove_finished():
            self._dropped.pop(ring, None)
            self._refused.pop(ring, None)
        return Collected(records, full, dropped, refused)

    def _move(self, slot: int, ring: RingConsumer, batch: Batch) -> tuple[bool, int]:
        """Whether there was room for what must not be lost, and how many of the other records had to be left out."""
        if self._spool.used > self._spool.size // 2 and not batch.damaged:
            # The rest of the room is for records that must not be lost; of the others is told when there is more.
            if batch.never_lose and not self._put(batch.never_lose):
                return False, 0
            return True, ring.advance_without(batch)
        gaps = [self._gap(slot, batch.dropped)] if batch.dropped else []
        gaps += [self._gap(slot, None)] if batch.damaged else []
        if (batch.records or gaps) and not self._put(batch.records, gaps):
            return False, 0
        ring.advance(batch)
        return True, 0

    def _put(self, records: list[bytes], gaps: list[bytes] | None = None) -> bool:
        if self._known:
            records = [record for record in records if record not in self._known]
        lines = records + (gaps or [])
        return not lines or self._spool.put(lines, len(records))

    def _newly_dropped(self, ring: RingConsumer, batch: Batch) -> int:
        """How many records the worker has lost since this was asked last."""
        before = self._dropped.get(ring, batch.dropped_ever - batch.dropped)
        self._dropped[ring] = batch.dropped_ever
        return batch.dropped_ever - before

    def _gap(self, slot: int, dropped: int | None) -> bytes:
        return encode_gap(self._clock(), worker=slot, dropped=dropped)
