"""To flush the audit file may take long, or fail: records reach it all the same."""

import asyncio
import errno
import os
from threading import Event

import pytest
from structlog.testing import capture_logs

from authz_server.audit import writer as writing
from authz_server.control import audit as auditing
from authz_server.control.audit import AuditTask
from authz_server.telemetry.control_metrics import ControlMetrics
from tests.unit.audit.deliveries import Audit
from tests.unit.audit.test_full_disks import Client


def test_a_disk_that_flushes_slowly_keeps_no_record_from_the_file(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To bring it to the disk may take long; the file has it all the same, and readiness tells."""
    stuck, go_on = Event(), Event()

    def hang(_descriptor: int) -> None:
        stuck.set()
        assert go_on.wait(60)

    monkeypatch.setattr(os, "fdatasync", hang)
    monkeypatch.setattr(writing, "_SYNC_EVERY_S", 0.0)
    monkeypatch.setattr(auditing, "_FLUSH_S", 0.0)
    client = Client(audit)

    async def scenario() -> None:
        now = [0.0]
        metrics = ControlMetrics(audit.path.parent / "metrics")
        task = AuditTask(audit.collector, audit.delivery, audit.spool, metrics, lambda: now[0])
        running = asyncio.create_task(task.run())
        client.ask(0)
        assert await asyncio.to_thread(stuck.wait, 60)
        client.ask(2)
        async with asyncio.timeout(60):
            while len(audit.lines()) < 2:
                await asyncio.sleep(0.01)
        assert task.problems() == []
        now[0] = 6.0
        assert "the audit file has not been flushed to the disk for 6 s" in task.problems()
        go_on.set()
        async with asyncio.timeout(60):
            while task.problems():
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await task.finish()

    asyncio.run(scenario())


def test_a_flush_that_fails_is_told_and_tried_again(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes meanwhile is written."""
    client = Client(audit)
    metrics = ControlMetrics(audit.path.parent / "metrics")
    task = AuditTask(audit.collector, audit.delivery, audit.spool, metrics)

    async def scenario() -> None:
        monkeypatch.setattr(writing, "_SYNC_EVERY_S", 0.0)
        monkeypatch.setattr(os, "fdatasync", _broken)
        for number in (0, 2):
            client.ask(number)
            await task._collect()
            await task._deliver()
            await task._flush()
            assert task.problems() == ["the audit file cannot be flushed to the disk: Input/output error"]
        monkeypatch.undo()
        monkeypatch.setattr(writing, "_SYNC_EVERY_S", 0.0)
        await task._flush()
        assert task.problems() == []
        await task.finish()

    with capture_logs() as logged:
        asyncio.run(scenario())
    assert len(audit.lines()) == 2
    assert [line["event"] for line in logged] == ["audit_flush_failed", "audit_flush_recovered"]


def _broken(_descriptor: int) -> None:
    raise OSError(errno.EIO, "Input/output error")
