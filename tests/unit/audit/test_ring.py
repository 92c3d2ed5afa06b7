"""The ring loses no acknowledged record, gives no torn one, and never makes its producer wait."""

import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from authz_server.audit.ring import MIN_SIZE, RingConsumer, RingError, RingProducer, create_ring

PROCESSES = Path(__file__).with_name("ring_processes.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty ring."""
    create_ring(tmp_path / "0.ring", MIN_SIZE)
    return tmp_path / "0.ring"


@pytest.fixture
def producer(path: Path) -> Iterator[RingProducer]:
    """Its producer."""
    producer = RingProducer(path)
    yield producer
    producer.close()


@pytest.fixture
def consumer(path: Path) -> Iterator[RingConsumer]:
    """Its consumer."""
    consumer = RingConsumer(path)
    yield consumer
    consumer.close()


def test_records_come_out_in_the_order_in_which_they_went_in(producer: RingProducer, consumer: RingConsumer) -> None:
    """What was appended is read whole and in order, empty records and any length included."""
    records = [b"", b"a", b"1234567", b"12345678", b"x" * 500]
    assert all(producer.append(record) for record in records)
    assert consumer.read().records == records


def test_the_ring_goes_round_any_number_of_times(producer: RingProducer, consumer: RingConsumer) -> None:
    """Records that go round the end of the data area come out as they went in."""
    for number in range(500):
        record = bytes([number % 256]) * (number * 13 % 700)
        assert producer.append(record)
        batch = consumer.read()
        assert batch.records == [record]
        consumer.advance(batch)
    assert consumer.is_empty()


def test_a_full_ring_refuses(producer: RingProducer, consumer: RingConsumer) -> None:
    """Without room append says so at once, and room comes back."""
    accepted = sum(producer.append(b"x" * 200) for _ in range(100))
    batch = consumer.read()
    assert len(batch.records) == accepted == MIN_SIZE // 208
    consumer.advance(batch)
    assert producer.append(b"again")
    assert (consumer.read().records, consumer.read().dropped) == ([b"again"], 0)


def test_records_of_best_effort_leave_half_of_the_ring_to_the_others(
    producer: RingProducer, consumer: RingConsumer
) -> None:
    """However many come, what must not be lost has room; all come out in order, and each is known for what it is."""
    spare = sum(producer.append(b"s" * 200, best_effort=True) for _ in range(100))
    vital = sum(producer.append(b"v" * 200) for _ in range(100))
    assert (spare, spare + vital) == (MIN_SIZE // 2 // 208, MIN_SIZE // 208)
    batch = consumer.read()
    assert batch.records == [b"s" * 200] * spare + [b"v" * 200] * vital
    assert batch.never_lose == [b"v" * 200] * vital


def test_what_is_lost_and_what_is_denied_is_counted(producer: RingProducer, consumer: RingConsumer) -> None:
    """The lost until the consumer has told of them, the denied since the ring was made."""
    for _ in range(3):
        producer.count_dropped()
    producer.count_refused()
    assert (consumer.read().dropped, consumer.refused) == (3, 1)
    assert not consumer.is_empty()
    consumer.advance(consumer.read())
    assert (consumer.read().dropped, consumer.refused) == (0, 1)
    assert consumer.is_empty()


def test_a_record_over_a_quarter_of_the_ring_is_refused(producer: RingProducer) -> None:
    """One huge record cannot push out all the others."""
    assert not producer.append(b"x" * (MIN_SIZE // 4))
    assert producer.append(b"x" * (MIN_SIZE // 4 - 8))


def test_a_consumer_that_dies_before_it_advances_reads_the_same_again(producer: RingProducer, path: Path) -> None:
    """Records are delivered at least once: reading alone consumes nothing."""
    producer.append(b"one")
    first = RingConsumer(path)
    assert first.read().records == [b"one"]
    first.close()
    second = RingConsumer(path)
    assert second.read().records == [b"one"]
    second.close()


def test_reading_stops_near_the_number_of_bytes_asked_for(producer: RingProducer, consumer: RingConsumer) -> None:
    """A batch is bounded, and the next one goes on where it ended."""
    for number in range(10):
        producer.append(bytes([number]) * 100)
    batch = consumer.read(300)
    assert len(batch.records) == 3
    consumer.advance(batch)
    assert consumer.read().records[0] == bytes([3]) * 100


def test_threads_of_the_producer_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Several threads append at once, and every record arrives whole, in order for each thread."""
    path = tmp_path / "0.ring"
    create_ring(path, 1 << 20)
    producer, consumer = RingProducer(path), RingConsumer(path)

    def append(thread: int) -> None:
        for number in range(1000):
            assert producer.append(f"{thread} {number}".encode())

    threads = [Thread(target=append, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pairs = [record.split() for record in consumer.read().records]
    for name in (b"0", b"1", b"2", b"3"):
        assert [int(number) for who, number in pairs if who == name] == list(range(1000))
    producer.close()
    consumer.close()


def test_one_ring_has_one_producer(path: Path, consumer: RingConsumer) -> None:
    """A second process that wants to append is refused, and the consumer can tell whether there is a producer."""
    producer = RingProducer(path)
    with pytest.raises(RingError, match="another process appends to this ring"):
        RingProducer(path)
    assert consumer.has_producer()
    producer.append(b"x")
    producer.close()
    assert not consumer.has_producer()
    producer = RingProducer(path)
    producer.append(b"y")
    producer.close()
    assert consumer.read().records == [b"x", b"y"]


def test_only_the_owner_may_read_a_ring(path: Path) -> None:
    """Records name people, so the file has mode 0600."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_ring_that_is_made_again_is_empty(producer: RingProducer, path: Path) -> None:
    """Creating replaces what is there; who had it open keeps the old file."""
    producer.append(b"old")
    create_ring(path, 2 * MIN_SIZE)
    consumer = RingConsumer(path)
    assert consumer.is_empty()
    consumer.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a ring: 0 bytes"),
        (b"x" * 8192, "not a ring of this version"),
        (b"azring\0\1"[::-1] + bytes(8184), "not a ring of this version"),
    ],
    ids=["empty", "something else", "no capacity"],
)
def test_a_file_that_is_no_ring_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Neither side opens a file of another kind, version or size."""
    path = tmp_path / "0.ring"
    path.write_bytes(content)
    for side in (RingProducer, RingConsumer):
        with pytest.raises(RingError, match=message):
            side(path)


def test_a_ring_with_impossible_positions_is_refused(path: Path) -> None:
    """A header that a crash of the machine tore is found when the ring is opened."""
    content = bytearray(path.read_bytes())
    content[64:72] = (1 << 40).to_bytes(8, sys.byteorder)
    path.write_bytes(content)
    with pytest.raises(RingError, match="the ring is damaged: head 1099511627776, tail 0, capacity 4096"):
        RingConsumer(path)


def test_too_small_a_ring_is_not_made(tmp_path: Path) -> None:
    """A size that holds no records is the caller's mistake."""
    with pytest.raises(ValueError, match="a ring holds at least 4096 bytes, not 100"):
        create_ring(tmp_path / "0.ring", 100)


def test_what_a_crash_of_the_machine_tore_is_skipped(producer: RingProducer, path: Path) -> None:
    """A frame that does not have its checksum is waited for once, then given up with all that follows it."""
    for record in (b"first", b"second", b"third"):
        producer.append(record)
    consumer = RingConsumer(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"second")] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    batch = consumer.read()
    assert (batch.records, batch.damaged) == ([b"first"], False)
    consumer.advance(batch)
    batch = consumer.read()
    assert (batch.records, batch.damaged) == ([], False)
    consumer.advance(batch)
    batch = consumer.read()
    assert (batch.records, batch.damaged) == ([], True)
    consumer.advance(batch)
    producer.append(b"fourth")
    batch = consumer.read()
    assert (batch.records, batch.damaged) == ([b"fourth"], False)
    consumer.close()


def test_a_producer_killed_at_any_opcode_leaves_whole_records(tmp_path: Path) -> None:
    """Killed before each opcode of an append in turn: the record is there whole or not at all, and the ring goes on."""
    found = subprocess.run(
        [sys.executable, PROCESSES, "kill", tmp_path / "0.ring"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.splitlines()
    without, whole = "before after", "before during after"
    commit = found.index(whole)
    assert commit > 50
    assert found == [without] * commit + [whole] * (len(found) - commit)


def test_a_producer_killed_while_it_runs_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Three threads append, are killed after some records, start again; the reader is restarted as well."""
    path = tmp_path / "0.ring"
    create_ring(path, 1 << 16)
    chance = random.Random(7)  # noqa: S311  # moments, no secrets
    for start in range(0, 6_000_000, 1_000_000):
        acknowledged, read = _killed_after(path, start, chance.randrange(100, 1500))
        for thread in range(3):
            numbers = [number for who, number in read if who == thread]
            assert numbers == list(range(start, start + len(numbers)))
            assert len(numbers) >= sum(who == thread for who, _ in acknowledged)


def _killed_after(path: Path, first: int, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """What a producer acknowledged that was killed after `count` records, and what was read."""
    acknowledged: list[tuple[int, int]] = []
    read: list[tuple[int, int]] = []
    with subprocess.Popen([sys.executable, PROCESSES, "append", path, str(first)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        consumer = RingConsumer(path)
        for line in process.stdout:
            acknowledged.append(_pair(line))
            if len(acknowledged) == count:
                os.kill(process.pid, signal.SIGKILL)
            if len(acknowledged) % 50 == 0:
                consumer.close()
                consumer = RingConsumer(path)
                batch = consumer.read()
                read += map(_pair, batch.records)
                consumer.advance(batch)
    while records := (batch := consumer.read()).records:
        read += map(_pair, records)
        consumer.advance(batch)
    assert not batch.damaged
    consumer.close()
    return acknowledged, read


def _pair(text: bytes) -> tuple[int, int]:
    thread, number = text.split(b":")[:2]
    return int(thread), int(number)
