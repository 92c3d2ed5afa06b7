"""A bounded ring of records in a memory-mapped file: one process appends, another one drains.

The file is a header and a data area; numbers are native-endian, unsigned, 64 bits, and each is stored with one
aligned 8-byte write:

    offset  0   magic and version
    offset  8   capacity of the data area in bytes, a multiple of 8
    offset 64   head: bytes ever appended            written by the producer only
    offset 72   dropped: records ever lost           written by the producer only
    offset 80   refused: requests ever denied        written by the producer only
    offset 128  tail: bytes ever consumed            written by the consumer only
    offset 136  reported: lost records told of       written by the consumer only; less those that it left out
    offset 192  data area

A position is a count of bytes since the ring was made; its place in the data area is the position modulo the
capacity. A frame begins at a multiple of 8: length (31 bits; the highest marks a record of best effort), CRC-32 of the
record seeded with the inverted position (32 bits), the record, padding to a multiple of 8. A frame may go round the
end of the data area.

Records of best effort find room only as long as less than half of the ring is taken: however many come, they push out
none that must not be lost.

The head is moved after the frame is complete, so a producer killed at any instruction leaves whole records only, and
what it appended before is there for the consumer. The CRC tells a consumer on another core that it sees the head but
not yet the frame, and finds what a crash of the machine tore.

The guarantee is at least once: a consumer killed after it handed records over and before `advance` meets them again.
"""

import fcntl
import mmap
import os
from pathlib import Path
from struct import Struct as Layout
from threading import Lock
from zlib import crc32

from msgspec import Struct

from authz_server.reserved import reserved_file

_MAGIC = int.from_bytes(b"azring\x00\x01", "little")
_MAGIC_WORD, _CAPACITY_WORD = 0, 1
_HEAD_WORD, _DROPPED_WORD, _REFUSED_WORD = 8, 9, 10
_TAIL_WORD, _REPORTED_WORD = 16, 17
_DATA = 192
_HEADER = Layout("=QQ")
_FRAME = Layout("=II")
_PADDING = tuple(bytes(n) for n in range(8))
_SEED = 0xFFFFFFFF
_BEST_EFFORT = 1 << 31
_LENGTH = _BEST_EFFORT - 1
_WORD = (1 << 64) - 1
MIN_SIZE = 4096


class RingError(Exception):
    """A file is not a ring that can be used; says which file and why."""


class Batch(Struct, frozen=True):
    """Records read and not yet consumed."""

    records: list[bytes]
    never_lose: list[bytes]
    """Those of them that are not of best effort."""
    dropped: int
    """Records lost since the last `advance`."""
    damaged: bool
    """An unknown number of further records could not be read."""
    end: int
    dropped_ever: int


def create_ring(path: Path, size: int) -> None:
    """Make an empty ring that holds `size` bytes of records, mode 0600, in place of any file at `path`.

    Raises OSError, and ValueError for a size under 4,096.
    """
    if size < MIN_SIZE:
        raise ValueError(f"a ring holds at least {MIN_SIZE} bytes, not {size}")
    capacity = size + -size % 8
    with reserved_file(path, _DATA + capacity) as descriptor:
        os.pwrite(descriptor, _HEADER.pack(_MAGIC, capacity), 0)


class _Mapping:
    """The file of a ring in memory."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        if size < _DATA + MIN_SIZE:
            raise RingError(f"{path}: not a ring: {size} bytes")
        self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.bytes = mmap.mmap(self.descriptor, size)
        except (OSError, ValueError):
            os.close(self.descriptor)
            raise
        self.words = memoryview(self.bytes)[:_DATA].cast("Q")
        self.capacity = self.words[_CAPACITY_WORD]
        head, tail = self.words[_HEAD_WORD], self.words[_TAIL_WORD]
        if self.words[_MAGIC_WORD] != _MAGIC or size != _DATA + self.capacity or self.capacity % 8:
            self.close()
            raise RingError(f"{path}: not a ring of this version")
        if not tail <= head <= tail + self.capacity or head % 8 or tail % 8:
            self.close()
            raise RingError(f"{path}: the ring is damaged: head {head}, tail {tail}, capacity {self.capacity}")

    def put(self, position: int, frame: bytes) -> None:
        start = _DATA + position % self.capacity
        room = len(self.bytes) - start
        if len(frame) <= room:
            self.bytes[start : start + len(frame)] = frame
        else:
            self.bytes[start:] = frame[:room]
            self.bytes[_DATA : _DATA + len(frame) - room] = frame[room:]

    def get(self, position: int, length: int) -> bytes:
        start = _DATA + position % self.capacity
        first = self.bytes[start : start + length]
        return first if len(first) == length else first + self.bytes[_DATA : _DATA + length - len(first)]

    def close(self) -> None:
        self.words.release()
        self.bytes.close()
        os.close(self.descriptor)


class RingProducer:
    """The appending side: one process, any number of its threads."""

    def __init__(self, path: Path) -> None:
        """Open the ring at `path`. Raises RingError where it is damaged or has a producer, and OSError."""
        self._mapping = mapping = _Mapping(path)
        try:
            # Held until the process ends, however it ends; tells the consumer whether more can come.
            fcntl.flock(mapping.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mapping.close()
            raise RingError(f"{path}: another process appends to this ring") from None
        self._lock = Lock()
        self._capacity = mapping.capacity
        self._head = mapping.words[_HEAD_WORD]
        self._tail = mapping.words[_TAIL_WORD]

    def append(self, record: bytes, *, best_effort: bool = False) -> bool:
        """Whether the record is in the ring: there must be room, and it may take a quarter of the ring at most."""
        length = len(record)
        padding = -length % 8
        size = 8 + length + padding
        limit, mark = (self._capacity >> 1, _BEST_EFFORT) if best_effort else (self._capacity, 0)
        with self._lock:
            head = self._head
            if head + size - self._tail > limit:
                self._tail = self._mapping.words[_TAIL_WORD]
                if head + size - self._tail > limit:
                    return False
            if size > self._capacity >> 2:
                return False
            frame = _FRAME.pack(length | mark, crc32(record, ~head & _SEED)) + record + _PADDING[padding]
            self._mapping.put(head, frame)
            self._head = self._mapping.words[_HEAD_WORD] = head + size
        return True

    def count_dropped(self) -> None:
        """Tell the consumer of a decision that goes without its record."""
        with self._lock:
            self._mapping.words[_DROPPED_WORD] += 1

    def count_refused(self) -> None:
        """Tell the consumer of a request that is denied for want of room for its record."""
        with self._lock:
            self._mapping.words[_REFUSED_WORD] += 1

    def close(self) -> None:
        """Let another producer have the ring."""
        with self._lock:
            self._mapping.close()


class RingConsumer:
    """The draining side: one thread of one process."""

    def __init__(self, path: Path) -> None:
        """Open the ring at `path`. Raises RingError where it is no ring or damaged, and OSError."""
        self.path = path
        self._mapping = _Mapping(path)
        self._suspect: int | None = None

    def read(self, max_bytes: int = 1 << 20) -> Batch:
        """The oldest records that were not yet consumed, about `max_bytes` of them at most; they stay in the ring."""
        words = self._mapping.words
        tail, head, dropped_ever = words[_TAIL_WORD], words[_HEAD_WORD], words[_DROPPED_WORD]
        records: list[bytes] = []
        never_lose: list[bytes] = []
        position = tail
        while position < head and position - tail < max_bytes:
            length, checksum = _FRAME.unpack(self._mapping.get(position, 8))
            record = self._record(position, length & _LENGTH, checksum, head)
            if record is None:
                break
            records.append(record)
            if not length & _BEST_EFFORT:
                never_lose.append(record)
            position += 8 + len(record) + -len(record) % 8
        damaged = False
        if not records and position < head:
            # At the first sight the frame may just not be visible to this core yet.
            damaged = self._suspect == position
            self._suspect = position
            position = head if damaged else position
        dropped = (dropped_ever - words[_REPORTED_WORD]) & _WORD
        return Batch(
            records=records,
            never_lose=never_lose,
            dropped=dropped,
            damaged=damaged,
            end=position,
            dropped_ever=dropped_ever,
        )

    def advance(self, batch: Batch) -> None:
        """Give the room of the batch back; call it when its records are safe elsewhere."""
        self._mapping.words[_TAIL_WORD] = batch.end
        self._mapping.words[_REPORTED_WORD] = batch.dropped_ever

    def advance_without(self, batch: Batch) -> int:
        """The same where those of best effort are left out: the next batch counts them as lost. How many they are."""
        left_out = len(batch.records) - len(batch.never_lose)
        # In this order: in between, a crash makes the number too large rather than too small.
        self._mapping.words[_REPORTED_WORD] = (self._mapping.words[_REPORTED_WORD] - left_out) & _WORD
        self._mapping.words[_TAIL_WORD] = batch.end
        return left_out

    @property
    def refused(self) -> int:
        """Requests that were denied for want of room since the ring was made."""
        return self._mapping.words[_REFUSED_WORD]

    def is_empty(self) -> bool:
        """Whether everything was consumed and every dropped record told of."""
        words = self._mapping.words
        return words[_TAIL_WORD] == words[_HEAD_WORD] and words[_REPORTED_WORD] == words[_DROPPED_WORD]

    def has_producer(self) -> bool:
        """Whether a process holds the ring open for appending; one that opens it right now may be refused."""
        try:
            fcntl.flock(self._mapping.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._mapping.descriptor, fcntl.LOCK_UN)
        return False

    def close(self) -> None:
        """Close the file; what is in the ring stays there."""
        self._mapping.close()

    def _record(self, position: int, length: int, checksum: int, head: int) -> bytes | None:
        if position + 8 + length > head or length > self._mapping.capacity:
            return None
        record = self._mapping.get(position + 8, length)
        return record if crc32(record, ~position & _SEED) == checksum else None
