"""Records reach the file from the rings of all workers, past crashes and full disks."""

import asyncio
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from structlog.testing import capture_logs

from authz_server.audit.collector import Collected, Collector
from authz_server.audit.delivery import Delivery
from authz_server.audit.recorder import Recorder
from authz_server.audit.redaction import Redaction
from authz_server.audit.ring import MIN_SIZE, RingConsumer, RingProducer
from authz_server.audit.rings import Rings
from authz_server.audit.spool import Spool
from authz_server.audit.writer import AuditWriter
from authz_server.control.audit import AuditTask
from authz_server.errors import Reason, Refused
from authz_server.model import Decision, RecordClass
from authz_server.telemetry.control_metrics import ControlMetrics

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


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    """The audit of a control process."""
    audit = Audit(tmp_path)
    yield audit
    audit.die()


def moved(records: int, dropped: dict[int, int]) -> Collected:
    """A round in which all had room."""
    return Collected(records, full=False, dropped=dropped, refused=0)


def _append_all(producer: RingProducer, number: int) -> int:
    """Append so many records, and count what finds no room; how many did."""
    kept = sum(producer.append(b"x" * 500) for _ in range(number))
    for _ in range(number - kept):
        producer.count_dropped()
    return kept


def test_records_of_all_workers_reach_the_file(audit: Audit) -> None:
    """Each round moves what is there, each worker's records in their order, and says how many."""
    first, second = (RingProducer(audit.rings.create(slot)) for slot in (0, 1))
    first.append(b"a")
    first.append(b"b")
    second.append(b"c")
    assert audit.drain() == moved(3, {})
    assert audit.drain() == moved(0, {})
    assert audit.lines() == [b"a", b"b", b"c"]


def test_a_decision_goes_through_recorder_and_ring_to_the_file(audit: Audit) -> None:
    """What a worker records is a line of the audit."""
    recorder = Recorder(RingProducer(audit.rings.create(4)), 4, Redaction([], b"k"))
    recorder(Decision(id="d1", time=0.0, revision="r", reason=Reason.NO_SERVICE), 99)
    audit.drain()
    [line] = audit.lines()
    assert json.loads(line) | {"decision_id": "d1", "worker": 4, "latency_us": 99} == json.loads(line)


def test_dropped_records_are_told_of_once_as_a_gap(audit: Audit) -> None:
    """A full ring shows in the audit with the number of lost records, behind those that were kept."""
    producer = RingProducer(audit.rings.create(3))
    kept = _append_all(producer, 20)
    assert audit.drain() == moved(kept, {3: 20 - kept})
    assert audit.drain() == moved(0, {})
    assert audit.gaps() == [(3, 20 - kept)]
    assert audit.lines()[-1].startswith(b'{"time":"2026-03-02T09:00:00.000000Z","type":"gap"')


def test_a_restarted_worker_goes_on_with_the_ring_of_its_slot(audit: Audit) -> None:
    """The ring is made once a slot; what the dead worker left is there, and the next one appends behind it."""
    path = audit.rings.create(0)
    dead = RingProducer(path)
    dead.append(b"a")
    dead.close()
    assert audit.rings.create(0) == path
    RingProducer(path).append(b"b")
    audit.drain()
    assert audit.lines() == [b"a", b"b"]


def test_a_restarted_control_process_finds_what_is_left(tmp_path: Path) -> None:
    """Rings of an earlier control process are drained, then deleted; its own are new ones."""
    earlier = Audit(tmp_path)
    old = earlier.rings.create(0)
    producer = RingProducer(old)
    producer.append(b"left")
    producer.close()
    earlier.die()
    later = Audit(tmp_path)
    new = later.rings.create(0)
    RingProducer(new).append(b"new")
    assert later.drain().records == 2
    assert later.lines() == [b"left", b"new"]
    assert (old.exists(), new.exists()) == (False, True)
    later.die()


def test_a_worker_of_an_earlier_control_process_may_still_record(tmp_path: Path) -> None:
    """Its ring is drained as long as it runs, beside the ring of the worker that took its slot."""
    earlier = Audit(tmp_path)
    old = earlier.rings.create(0)
    orphan = RingProducer(old)
    earlier.die()
    later = Audit(tmp_path)
    RingProducer(later.rings.create(0)).append(b"new")
    later.drain()
    orphan.append(b"late")
    assert later.drain().records == 1
    assert old.exists()
    orphan.close()
    later.drain()
    assert not old.exists()
    assert later.lines() == [b"new", b"late"]
    later.die()


def test_a_ring_that_cannot_be_read_is_a_gap_of_unknown_size(tmp_path: Path) -> None:
    """After a crash of the machine the server starts, and the audit says that something is missing."""
    (tmp_path / "rings").mkdir()
    (tmp_path / "rings" / "2.aaaa.ring").write_bytes(b"")
    (tmp_path / "rings" / "notes.txt").write_bytes(b"")
    (tmp_path / "rings" / ".0.aaaa.ring.new").write_bytes(b"")
    audit = Audit(tmp_path)
    assert audit.drain() == moved(0, {})
    audit.drain()
    assert audit.gaps() == [(2, None)]
    assert os.listdir(tmp_path / "rings") == ["notes.txt"]
    audit.die()


def test_closing_deletes_the_rings_that_are_empty(audit: Audit, tmp_path: Path) -> None:
    """An orderly end leaves only what could not be moved to the file."""
    for slot in (0, 1):
        producer = RingProducer(audit.rings.create(slot))
        producer.append(b"x")
        producer.close()
    audit.drain()
    producer = RingProducer(audit.rings.create(1))
    producer.append(b"unmoved")
    producer.close()
    kept = audit.rings.create(1)
    audit.rings.close()
    assert list((tmp_path / "rings").iterdir()) == [kept]


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
            id=id, time=NOW, revision="r", reason=Reason.ALLOWED, rule="a/b", record_class=record_class, path="x" * 300
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
