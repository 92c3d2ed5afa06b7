"""Brings the records of the workers to the audit file, as long as the server runs."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from authz_server.audit.collector import Collected, Collector
from authz_server.audit.delivery import Delivery
from authz_server.audit.spool import Spool
from authz_server.telemetry.control_metrics import ControlMetrics

_IDLE_S = 0.1
"""Between two looks at rings that were empty."""
_PAUSE_S = 0.02
"""Between two rounds while records come: few large ones cost less than many small ones, and a ring holds many more."""
_RETRY_S = 1.0
_FLUSH_S = 1.0
_SLOW_S = 5.0
"""For so long a disk may take nothing before readiness tells of it."""
_DENYING_S = 10.0
"""For so long after the last request that was denied for want of room, readiness tells of it."""


class _Trouble:
    """Something that may be wrong; the log has a line when it begins, and one when it ends."""

    def __init__(self, begins: str, ends: str) -> None:
        self._begins = begins
        self._ends = ends
        self.problem: str | None = None

    def set(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            structlog.get_logger().error(self._begins, problem=problem)
        elif problem is None and self.problem is not None:
            structlog.get_logger().info(self._ends)
        self.problem = problem


class AuditTask:
    """Collects in one thread, delivers in another one, and flushes in a third: a disk may be slow, and nobody waits."""

    def __init__(
        self,
        collector: Collector,
        delivery: Delivery,
        spool: Spool,
        metrics: ControlMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collector = collector
        self._delivery = delivery
        self._spool = spool
        self._metrics = metrics
        self._monotonic = monotonic
        self._collecting = ThreadPoolExecutor(1, thread_name_prefix="audit-collect")
        self._delivering = ThreadPoolExecutor(1, thread_name_prefix="audit-deliver")
        self._flushing = ThreadPoolExecutor(1, thread_name_prefix="audit-flush")
        self._collected = asyncio.Event()
        self._file = _Trouble("audit_write_failed", "audit_write_recovered")
        self._flushed = _Trouble("audit_flush_failed", "audit_flush_recovered")
        self._room = _Trouble("audit_spool_full", "audit_spool_has_room")
        self._disk = _Trouble("audit_spool_failed", "audit_spool_recovered")
        self._denying = _Trouble("audit_requests_denied", "audit_requests_no_longer_denied")
        self._collected_at = self._delivered_at = monotonic()
        self._flushing_since: float | None = None
        self._refused_at = float("-inf")
        metrics.audit_spool(bytes=lambda: spool.used, records=lambda: spool.records)

    async def run(self) -> None:
        """Collect, deliver and flush until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._collect_forever())
            group.create_task(self._deliver_forever())
            group.create_task(self._flush_forever())

    async def finish(self) -> None:
        """Move what is left, once the workers have ended; what cannot be written stays for the next start."""
        moved = True
        while moved:
            # In turns: a spool that was full has room for more when some of it is written.
            collected, delivered = await self._collect(), await self._deliver()
            moved = bool(collected or delivered)
        self._collecting.shutdown()
        self._delivering.shutdown()
        self._flushing.shutdown()

    def problems(self) -> list[str]:
        """What is wrong, for people."""
        found = []
        if self._file.problem is not None:
            found.append(f"the audit file cannot be written: {self._file.problem}")
        elif self._spool.used and (stalled := self._monotonic() - self._delivered_at) > _SLOW_S:
            found.append(f"the audit file has taken no record for {stalled:.0f} s")
        if self._spool.used and (found or self._spool.used > self._spool.size // 2):
            waiting = f"{self._spool.records:,} records, {self._spool.used:,} of {self._spool.size:,} bytes"
            found.append(f"audit records wait in the spool: {waiting}")
        if self._flushed.problem is not None:
            found.append(f"the audit file cannot be flushed to the disk: {self._flushed.problem}")
        elif self._flushing_since is not None and (hung := self._monotonic() - self._flushing_since) > _SLOW_S:
            found.append(f"the audit file has not been flushed to the disk for {hung:.0f} s")
        if self._room.problem is not None:
            found.append(self._room.problem)
        if self._disk.problem is not None:
            found.append(f"the audit spool cannot be used: {self._disk.problem}")
        elif (hung := self._monotonic() - self._collected_at) > _SLOW_S:
            found.append(f"the audit spool has taken no record for {hung:.0f} s")
        if self._denying.problem is not None:
            found.append(self._denying.problem)
        return found

    async def _collect_forever(self) -> None:
        while True:
            moved = await self._collect()
            if moved is None:
                await asyncio.sleep(_RETRY_S)
            elif moved == 0:
                await asyncio.sleep(_IDLE_S)
            else:
                self._collected.set()
                await asyncio.sleep(_PAUSE_S)

    async def _deliver_forever(self) -> None:
        while True:
            # Only what is collected from here on may be missed by the round.
            self._collected.clear()
            moved = await self._deliver()
            if moved is None:
                await asyncio.sleep(_RETRY_S)
            elif moved == 0:
                await self._wait_for_more()

    async def _wait_for_more(self) -> None:
        try:
            # Not for longer: of what is no record, such as a gap, nobody tells.
            async with asyncio.timeout(_RETRY_S):
                await self._collected.wait()
        except TimeoutError:
            return

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self._flush()

    async def _collect(self) -> int | None:
        """The number of records that were moved out of the rings; None where the spool cannot be written."""
        loop = asyncio.get_running_loop()
        try:
            collected = await loop.run_in_executor(self._collecting, self._collector.collect_once)
        except OSError as error:
            self._disk.set(_told(error))
            return None
        self._disk.set(None)
        self._take_in(collected)
        return collected.records

    def _take_in(self, collected: Collected) -> None:
        self._collected_at = now = self._monotonic()
        self._metrics.audit_collected(collected.dropped, collected.refused)
        self._room.set("the audit spool is full: what comes now waits in the workers" if collected.full else None)
        if collected.refused:
            self._refused_at = now
        denying = now - self._refused_at < _DENYING_S
        told = "requests are denied because there is no room for their audit records" if denying else None
        self._denying.set(told)

    async def _deliver(self) -> int | None:
        """The number of records that were written; None where they could not be."""
        loop = asyncio.get_running_loop()
        try:
            written = await loop.run_in_executor(self._delivering, self._delivery.deliver_once)
        except OSError as error:
            self._metrics.audit_write_failed()
            self._file.set(_told(error))
            return None
        self._file.set(None)
        self._delivered_at = self._monotonic()
        self._metrics.audit_written(written)
        return written

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._flushing, self._flush_now)
        except OSError as error:
            self._metrics.audit_write_failed()
            self._flushed.set(_told(error))
        else:
            self._flushed.set(None)

    def _flush_now(self) -> None:
        self._flushing_since = self._monotonic()
        try:
            self._delivery.flush()
        finally:
            self._flushing_since = None


def _told(error: OSError) -> str:
    return error.strerror or str(error)
