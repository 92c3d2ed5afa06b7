"""What becomes of records while the disk is full, slow, or fails."""

import asyncio
import errno
import json
from pathlib import Path
from threading import Event

import pytest
from structlog.testing import capture_logs

from authz_server.audit.recorder import Recorder
from authz_server.audit.redaction import Redaction
from authz_server.audit.ring import RingConsumer, RingProducer
from authz_server.audit.spool import Spool
from authz_server.control.audit import AuditTask
from authz_server.errors import Reason, Refused
from authz_server.model import Decision, RecordClass
from authz_server.telemetry.control_metrics import ControlMetrics
from tests.unit.audit.deliveries import NOW, Audit


class FullDisk:
    """In place of writing to the audit file: nothing, as long as there is no room."""

    def __init__(self, audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        self._write = audit.writer.write
        monkeypatch.setattr(audit.writer, "write", self.write)

    def write(self, lines: list[bytes]) -> None:
        """Fails while the disk is full."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._write(lines)


class Client:
    """Decides as a worker does, and remembers what a client would have seen."""

    def __init__(self, audit: Audit, slot: int = 0) -> None:
        self._recorder = Recorder(RingProducer(audit.rings.create(slot)), slot, Redaction([], b"k"))
        self.allowed: list[str] = []
        self.going_on = 0
        """Decisions of best effort."""
        self.refused = 0

    def ask(self, number: int, *, record_class: RecordClass | None = None) -> None:
        """One request that is allowed."""
        id = f"{number:036}"
        asked = Decision(
            id=id, time=NOW, revision="r", reason=Reason.ALLOWED, rule="a/b", record_class=record_class, path="x" * 260
        )
        try:
            self._recorder(asked, 1)
        except Refused as refusal:
            self.refused += refusal.reason is Reason.AUDIT_UNAVAILABLE
            self._recorder(Decision(id=id, time=NOW, revision="r", reason=refusal.reason), 1)
            self.going_on += 1
            return
        if record_class == "best_effort":
            self.going_on += 1
        else:
            self.allowed.append(id)


def _delivered(audit: Audit) -> tuple[list[str], int]:
    """The ids of what was allowed and must not be lost, in order, and the number of all others, the lost included."""
    records = [json.loads(line) for line in audit.lines()]
    allowed = [record["decision_id"] for record in records if record["reason"] == "allowed"]
    never_lose = [id for id in allowed if int(id) % 2 == 0]
    others = sum(record["dropped"] if record["type"] == "gap" else 1 for record in records) - len(never_lose)
    return never_lose, others


def test_of_a_disk_that_is_full_for_long_everybody_knows_what_it_cost(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spool, then ring fill up; then what must not be lost is denied. All that was allowed is in the file, in order and
    once, the gaps count every other decision, and all goes on by itself when there is room."""
    disk = FullDisk(audit, monkeypatch)
    client = Client(audit)
    dropped = refused = number = 0
    full = False
    while client.refused < 20:
        client.ask(2 * number)
        client.ask(2 * number + 1, record_class="best_effort")
        number += 1
        collected = audit.collector.collect_once()
        with pytest.raises(OSError, match="No space left"):
            audit.delivery.deliver_once()
        dropped += sum(collected.dropped.values())
        refused += collected.refused
        full = full or collected.full
    assert full
    assert refused == 20
    assert audit.lines() == []
    disk.full = False
    audit.drain_all()
    client.ask(2 * number)
    audit.drain_all()
    assert client.refused == 20
    assert _delivered(audit) == (client.allowed, client.going_on)
    assert sum(lost or 0 for _, lost in audit.gaps()) == dropped > 20
    # Half of the spool was for both; then what must not be lost was put there alone.
    assert len(client.allowed) > client.going_on - dropped > 20
    assert audit.spool.used == 0


@pytest.mark.parametrize("killed", ["before the ring knew", "before the spool knew", "in the middle of a write"])
def test_what_waits_outlives_a_killed_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: str) -> None:
    """The next one delivers it, in order and once, though it finds the same records in two places."""
    earlier = Audit(tmp_path)
    disk = FullDisk(earlier, monkeypatch)
    client = Client(earlier)
    for number in range(0, 8, 2):
        client.ask(number)
    earlier.collector.collect_once()
    for number in range(8, 16, 2):
        client.ask(number)
    if killed == "before the ring knew":
        monkeypatch.setattr(RingConsumer, "advance", lambda *_: None)
    earlier.collector.collect_once()
    if killed != "before the ring knew":
        disk.full = False
        monkeypatch.setattr(Spool, "release", lambda *_: None)
        earlier.delivery.deliver_once()
    earlier.die()
    monkeypatch.undo()
    if killed == "in the middle of a write":
        earlier.path.write_bytes(earlier.path.read_bytes()[:-1000])
    later = Audit(tmp_path)
    later.drain_all()
    assert client.refused == 0
    assert len(client.allowed) == 8
    assert _delivered(later) == (client.allowed, 0)
    later.die()


def test_an_orderly_end_delivers_what_waits_anywhere(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is in the rings because the spool was full."""
    disk = FullDisk(audit, monkeypatch)
    client = Client(audit)
    while not client.refused:
        client.ask(2 * len(client.allowed))
        audit.collector.collect_once()

    async def scenario() -> None:
        task = AuditTask(audit.collector, audit.delivery, audit.spool, ControlMetrics(audit.path.parent / "metrics"))
        await task.finish()
        assert audit.lines() == []
        disk.full = False
        task = AuditTask(audit.collector, audit.delivery, audit.spool, ControlMetrics(audit.path.parent / "metrics"))
        await task.finish()

    asyncio.run(scenario())
    assert _delivered(audit)[0] == client.allowed


def test_half_of_the_spool_is_for_what_must_not_be_lost(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records of best effort come before."""
    FullDisk(audit, monkeypatch)
    client = Client(audit)
    for number in range(1, 401, 2):
        client.ask(number, record_class="best_effort")
        audit.collector.collect_once()
    taken = audit.spool.used
    assert audit.spool.size // 2 < taken < audit.spool.size * 5 // 8
    for number in range(0, 40, 2):
        client.ask(number)
        client.ask(number + 1, record_class="best_effort")
        audit.collector.collect_once()
    assert client.refused == 0
    assert len(client.allowed) == 20
    assert not audit.collector.collect_once().full
    assert audit.spool.records == 20 + (client.going_on - sum(_lost(audit)))


def _lost(audit: Audit) -> list[int]:
    """How many records of each ring were lost, and are not told of yet."""
    return [ring.read().dropped for _, ring in audit.rings]


def test_a_slow_disk_holds_nobody_up(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a write does not come back, records go on into the spool, and requests are decided."""
    stuck, go_on = Event(), Event()
    write = audit.writer.write

    def slow(lines: list[bytes]) -> None:
        stuck.set()
        assert go_on.wait(60)
        write(lines)

    monkeypatch.setattr(audit.writer, "write", slow)
    client = Client(audit)

    async def scenario() -> None:
        metrics = ControlMetrics(audit.path.parent / "metrics")
        now = [0.0]
        task = AuditTask(audit.collector, audit.delivery, audit.spool, metrics, lambda: now[0])
        running = asyncio.create_task(task.run())
        client.ask(0)
        assert await asyncio.to_thread(stuck.wait, 60)
        # More than the ring holds at once.
        async with asyncio.timeout(30):
            for number in range(2, 60, 2):
                waiting = audit.spool.records
                client.ask(number)
                while audit.spool.records == waiting:
                    await asyncio.sleep(0)
        assert task.problems() == []
        now[0] = 12.0
        taken = f"{audit.spool.used:,} of {audit.spool.size:,} bytes"
        told = [
            "the audit file has taken no record for 12 s",
            f"audit records wait in the spool: 30 records, {taken}",
        ]
        async with asyncio.timeout(60):
            # The thread that collects has to come round.
            while task.problems() != told:
                await asyncio.sleep(0.01)
        go_on.set()
        while audit.spool.used:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await task.finish()
        assert task.problems() == []

    asyncio.run(scenario())
    assert client.refused == 0
    assert _delivered(audit) == (client.allowed, 0)


def test_a_disk_of_the_spool_that_hangs_is_told_of(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else would: the thread that collects is the one that hangs."""
    stuck, go_on = Event(), Event()

    def hang(*_: object) -> bool:
        stuck.set()
        return go_on.wait(60)

    monkeypatch.setattr(audit.spool, "put", hang)
    Client(audit).ask(0)

    async def scenario() -> None:
        now = [0.0]
        metrics = ControlMetrics(audit.path.parent / "metrics")
        task = AuditTask(audit.collector, audit.delivery, audit.spool, metrics, lambda: now[0])
        running = asyncio.create_task(task.run())
        assert await asyncio.to_thread(stuck.wait, 60)
        now[0] = 6.0
        assert task.problems() == ["the audit spool has taken no record for 6 s"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        go_on.set()
        await task.finish()
        assert task.problems() == []

    asyncio.run(scenario())


def test_what_is_wrong_is_told(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness has it as long as it lasts, the log when it begins and when it ends, once."""
    disk = FullDisk(audit, monkeypatch)
    client = Client(audit)

    async def scenario() -> None:
        now = [0.0]
        metrics = ControlMetrics(audit.path.parent / "metrics")
        task = AuditTask(audit.collector, audit.delivery, audit.spool, metrics, lambda: now[0])
        for number in range(0, 10_000, 2):
            client.ask(number)
            await task._collect()
            await task._deliver()
            if client.refused == 3:
                break
        await task._collect()
        records = f"{audit.spool.records:,} records, {audit.spool.used:,} of {audit.spool.size:,} bytes"
        assert task.problems() == [
            "the audit file cannot be written: No space left on device",
            f"audit records wait in the spool: {records}",
            "the audit spool is full: what comes now waits in the workers",
            "requests are denied because there is no room for their audit records",
        ]
        exposed = metrics.render().decode()
        assert "authz_audit_refused_total 3.0" in exposed
        assert f"authz_audit_spool_bytes {float(audit.spool.used)}" in exposed
        disk.full = False
        while audit.spool.used:
            await task._deliver()
            await task._collect()
        assert task.problems() == ["requests are denied because there is no room for their audit records"]
        now[0] = 10.0
        await task._collect()
        assert task.problems() == []
        monkeypatch.setattr(audit.spool, "put", _broken)
        client.ask(10_000)
        await task._collect()
        assert task.problems() == ["the audit spool cannot be used: Input/output error"]
        monkeypatch.undo()
        await task.finish()
        assert task.problems() == []

    with capture_logs() as logged:
        asyncio.run(scenario())
    assert _delivered(audit)[0] == client.allowed
    assert [line["event"] for line in logged] == [
        "audit_write_failed",
        "audit_spool_full",
        "audit_requests_denied",
        "audit_write_recovered",
        "audit_spool_has_room",
        "audit_requests_no_longer_denied",
        "audit_spool_failed",
        "audit_spool_recovered",
    ]


def _broken(*_: object) -> bool:
    raise OSError(errno.EIO, "Input/output error")


def test_a_damaged_spool_is_a_gap_of_unknown_size(audit: Audit) -> None:
    """It is told of in the audit, and what comes then is written."""
    client = Client(audit)
    client.ask(0)
    audit.collector.collect_once()
    path = audit.path.with_suffix(".spool")
    content = bytearray(path.read_bytes())
    content[4096 + 40] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    client.ask(2)
    audit.delivery.deliver_once()
    audit.drain_all()
    gap, record = map(json.loads, audit.lines())
    assert (gap["type"], gap["worker"], gap["dropped"]) == ("gap", None, None)
    assert record["decision_id"] == client.allowed[1]
