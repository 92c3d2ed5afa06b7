"""Moves records from the spool to the audit file."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from authz_server.audit.record import encode_gap
from authz_server.audit.spool import Spool
from authz_server.audit.writer import AuditWriter

Observer = Callable[[Sequence[bytes]], None]
"""Is told of the lines that the audit file has just taken; what it raises is logged, and changes nothing."""


class Delivery:
    """Empties the spool round by round; in one thread, which may wait for the disk."""

    def __init__(
        self,
        spool: Spool,
        writer: AuditWriter,
        known: list[bytes] | None = None,
        clock: Callable[[], float] = time.time,
        observers: Sequence[Observer] = (),
    ) -> None:
        """`known` are lines that the audit file has: they are not written again."""
        self._spool = spool
        self._writer = writer
        # A killed control process may have written records, and left them in the spool.
        self._known = frozenset(known or [])
        self._clock = clock
        self._observers = observers

    def deliver_once(self) -> int:
        """Write up to 1 MiB of what waits; how many records. Raises OSError when it cannot be written.

        Then nothing was moved, and the records come again in the next round.
        """
        waiting = self._spool.oldest()
        if waiting is None:
            return 0
        lines = waiting.lines
        if self._known:
            lines = [line for line in lines if line not in self._known]
        if waiting.damaged:
            lines = [encode_gap(self._clock(), worker=None, dropped=None)]
        try:
            if lines:
                self._writer.write(lines)
        except OSError:
            # They wait for longer than the crash of a machine may cost.
            with suppress(OSError):
                self._spool.sync()
            raise
        self._known = frozenset()
        self._spool.release(waiting)
        self._tell(lines)
        return waiting.records

    def flush(self) -> None:
        """Flush what was written to the disk, now and then; in a thread of its own, for it may take long.

        Raises OSError.
        """
        self._writer.sync()

    def _tell(self, lines: Sequence[bytes]) -> None:
        for observe in self._observers:
            try:
                observe(lines)
            except Exception:  # noqa: BLE001  # the border: whoever counts records must not keep them from the file
                structlog.get_logger().error("audit_observer_failed", exc_info=True)
