"""Brings the records of the workers to the audit file, as long as the server runs."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog

from authz_server.audit.drain import Drain
from authz_server.telemetry.control_metrics import ControlMetrics

_IDLE_S = 0.1
"""Between two looks at rings that were empty."""
_RETRY_S = 1.0


class AuditTask:
    """Drains the rings in a thread of its own: the disk may be slow, and the event loop must not wait for it."""

    def __init__(self, drain: Drain, metrics: ControlMetrics) -> None:
        self._drain = drain
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._failing = False

    async def run(self) -> None:
        """Drain until cancelled."""
        while True:
            moved = await self._round()
            if moved is None:
                await asyncio.sleep(_RETRY_S)
            elif moved == 0:
                await asyncio.sleep(_IDLE_S)

    async def finish(self) -> None:
        """Drain what is left, once the workers have ended; what cannot be written stays for the next start."""
        while await self._round():
            continue
        self._thread.shutdown()

    async def _round(self) -> int | None:
        """The number of records that were moved; None where they could not be."""
        try:
            drained = await asyncio.get_running_loop().run_in_executor(self._thread, self._drain.drain_once)
        except OSError as error:
            self._metrics.audit_write_failed()
            if not self._failing:
                structlog.get_logger().error("audit_write_failed", problem=str(error))
            self._failing = True
            return None
        if self._failing:
            structlog.get_logger().info("audit_write_recovered")
            self._failing = False
        self._metrics.audit_drained(drained.records, drained.dropped)
        return drained.records
