"""The spool: a bounded queue on disk, in which records wait until the audit file takes them.

One thread puts, another one takes. The file has its whole size from the start, so a disk that fills up later does not
hurt it. Numbers are little-endian and unsigned:

    offset  0    magic and version, size of the data area in bytes        64 bits each
    offset 64    generation, bytes ever released in it, bytes ever put    64 bits each, then their CRC-32
    offset 4096  data area

A position is a count of bytes since its generation began; its place in the data area is the position modulo the size.
A frame is its length, CRC-32 and number of records (32 bits each), 32 bits of nothing, and whole lines, padded to a
multiple of 8. The CRC is seeded with generation, position and number, so frames of an earlier round or generation are
never taken for one of now: whoever opens the file goes from frame to frame and finds where they end, which is not
before what was written down. A generation ends when the spool is empty, so that as long as the audit file takes
everything, the same few pages are used.
"""

import errno
import fcntl
import os
from pathlib import Path
from struct import Struct as Layout
from threading import Lock
from zlib import crc32

from msgspec import Struct

from authz_server.bounds import MIB, Bound
from authz_server.reserved import reserved_file

_MAGIC = int.from_bytes(b"azspool\x01", "little")
_HEADER = Layout("<QQ")
_STATE = Layout("<QQQ")
_CHECKSUM = Layout("<I")
_STATE_AT = 64
_DATA = 4096
_FRAME = Layout("<IIII")
_SEED = Layout("<QQI")
MIN_SIZE = 4096
BATCH_BYTES = MIB
"""What is moved in one go, about."""
MOVED = Bound(
    "records that are moved",
    "server",
    entries=20_000,
    bytes=16 * MIB,
    holds="Records from a ring to the spool, or from there to the audit file; at the start the last ones of both.",
    full="It never is: they go in batches, and wait in the rings, and on disk in the spool (`audit.spool.size`).",
    kept_in=("Spool.newest",),
)


class Waiting(Struct, frozen=True):
    """The oldest records of a spool, which stay there until they are released."""

    lines: list[bytes]
    records: int
    """How many of the lines tell of decisions."""
    damaged: bool
    """An unknown number of further records could not be read."""
    end: int


class _Frame(Struct, frozen=True):
    lines: list[bytes]
    records: int
    size: int


class Spool:
    """What is in the file; from two threads, of which one puts and the other takes."""

    def __init__(self, path: Path, size: int) -> None:
        """Open the spool, or make one of so many bytes, mode 0600. One that is not empty keeps the size that it has.

        Raises OSError: FileExistsError for a file that is no spool, BlockingIOError where another process has it.
        """
        self._descriptor = _open(path, size)
        self._lock = Lock()
        self.size = self.records = 0
        """Bytes of the data area, and how many records of decisions wait."""
        self.newest: list[bytes] = []
        """The lines that were put last, as found when the spool was opened."""
        self._generation = self._tail = self._head = 0
        try:
            self._recover(path)
            if not self.used and self.size != _rounded(size):
                _create(path, _rounded(size))
                os.close(self._descriptor)
                self._descriptor = _open(path, size)
                self._recover(path)
        except OSError:
            os.close(self._descriptor)
            raise

    @property
    def used(self) -> int:
        """How many bytes of the spool are taken."""
        return self._head - self._tail

    def put(self, lines: list[bytes], records: int) -> bool:
        """Whether there was room for these lines, of which so many are records of decisions. Raises OSError."""
        data = b"\n".join(lines)
        size = _FRAME.size + len(data) + -len(data) % 8
        with self._lock:
            if self.used + size > self.size:
                return False
            checksum = crc32(data, self._seed(self._head, records))
            self._write(self._head, _FRAME.pack(len(data), checksum, records, 0) + data)
            self._head += size
            self.records += records
        return True

    def oldest(self, max_bytes: int = BATCH_BYTES) -> Waiting | None:
        """The oldest lines, about `max_bytes` at most; None where there are none. Raises OSError."""
        with self._lock:
            head, start = self._head, self._tail
        if start == head:
            return None
        lines: list[bytes] = []
        records, position = 0, start
        while position < head and position - start < max_bytes:
            frame = self._frame(position, head)
            if frame is None:
                break
            lines += frame.lines
            records += frame.records
            position += frame.size
        damaged = not lines
        return Waiting(lines, records, damaged, head if damaged else position)

    def release(self, waiting: Waiting) -> None:
        """Give the room of the oldest records back: they are in the audit file. Raises OSError."""
        with self._lock:
            before = self._tail, self._head, self.records, self._generation
            self._tail = waiting.end
            self.records -= waiting.records
            if self._tail == self._head:
                self._generation += 1
                self._tail = self._head = self.records = 0
            try:
                self._store_state()
            except OSError:
                # What is put from now on must be found by what is on the disk.
                self._tail, self._head, self.records, self._generation = before
                raise

    def sync(self) -> None:
        """Flush to the disk. Raises OSError."""
        with self._lock:
            self._store_state()
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file; what is in it stays there, flushed to the disk. Raises OSError."""
        try:
            if self.used:
                self.sync()
        finally:
            os.close(self._descriptor)

    def _recover(self, path: Path) -> None:
        """Find out what the file holds."""
        magic, self.size = _HEADER.unpack(os.pread(self._descriptor, _HEADER.size, 0).ljust(_HEADER.size, b"\0"))
        whole = magic == _MAGIC and os.fstat(self._descriptor).st_size == _DATA + self.size
        state = os.pread(self._descriptor, _STATE.size + _CHECKSUM.size, _STATE_AT)
        if not whole or state != _with_checksum(state[: _STATE.size]):
            raise FileExistsError(errno.EEXIST, "the file is there, and is no spool of this version", str(path))
        self._generation, self._tail, written_down = _STATE.unpack_from(state)
        self._head = self._tail
        while (frame := self._frame(self._head, self._tail + self.size)) is not None:
            self._head += frame.size
            self.records += frame.records
            self.newest = frame.lines
        # What is missing is told of when its turn comes.
        self._head = max(self._head, written_down)

    def _frame(self, position: int, end: int) -> _Frame | None:
        """The frame at a position; None where there is no whole one."""
        if position + _FRAME.size > end:
            return None
        length, checksum, records, _ = _FRAME.unpack(self._read(position, _FRAME.size))
        size = _FRAME.size + length + -length % 8
        if position + size > end:
            return None
        data = self._read(position + _FRAME.size, length)
        if crc32(data, self._seed(position, records)) != checksum:
            return None
        return _Frame(data.split(b"\n"), records, size)

    def _seed(self, position: int, records: int) -> int:
        return crc32(_SEED.pack(self._generation, position, records))

    def _store_state(self) -> None:
        state = _with_checksum(_STATE.pack(self._generation, self._tail, self._head))
        _write_at(self._descriptor, state, _STATE_AT)

    def _write(self, position: int, data: bytes) -> None:
        start = position % self.size
        room = self.size - start
        _write_at(self._descriptor, data[:room], _DATA + start)
        if len(data) > room:
            _write_at(self._descriptor, data[room:], _DATA)

    def _read(self, position: int, length: int) -> bytes:
        start = position % self.size
        first = os.pread(self._descriptor, min(length, self.size - start), _DATA + start)
        return first if len(first) == length else first + os.pread(self._descriptor, length - len(first), _DATA)


def _open(path: Path, size: int) -> int:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not path.exists():
        _create(path, _rounded(size))
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BlockingIOError(error.errno, "another process uses this spool", str(path)) from None
    return descriptor


def _create(path: Path, size: int) -> None:
    try:
        with reserved_file(path, _DATA + size) as descriptor:
            _write_at(descriptor, _HEADER.pack(_MAGIC, size), 0)
            _write_at(descriptor, _with_checksum(_STATE.pack(1, 0, 0)), _STATE_AT)
            os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _rounded(size: int) -> int:
    return max(size + -size % 8, MIN_SIZE)


def _with_checksum(state: bytes) -> bytes:
    return state + _CHECKSUM.pack(crc32(state))


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], offset + written)
