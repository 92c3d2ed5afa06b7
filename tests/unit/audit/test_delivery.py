"""Records reach the file from the rings of all workers, past crashes and full disks."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from authz_server.audit.delivery import Delivery
from authz_server.audit.recorder import Recorder
from authz_server.audit.redaction import Redaction
from authz_server.audit.ring import RingProducer
from authz_server.errors import Reason
from authz_server.model import Decision
from tests.unit.audit.deliveries import Audit, moved


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


def test_observers_are_told_of_the_lines_that_the_file_took_and_fail_alone(tmp_path: Path) -> None:
    """Each line once; one that fails keeps neither the records from the file nor the others from their lines."""
    audit = Audit(tmp_path)
    seen: list[bytes] = []

    def fails(lines: Sequence[bytes]) -> None:
        raise ValueError(len(lines))

    audit.delivery = Delivery(audit.spool, audit.writer, observers=[fails, seen.extend])
    producer = RingProducer(audit.rings.create(0))
    for line in (b"a", b"b"):
        producer.append(line)
        audit.drain_all()
    assert audit.lines() == seen == [b"a", b"b"]
    audit.die()
