"""The audit file: whole lines are appended, and it is put aside when it has grown to a size.

What was written survives any process. Against a crash of the machine it is flushed to the disk at most once a second,
so that such a crash costs the records of about the last second.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

_SYNC_EVERY_S = 1.0
_CHUNK = 1 << 16
_BEGIN = b'{"time":"'


class _PutAside(NamedTuple):
    stamp: str
    number: int
    path: Path


class AuditWriter:
    """Appends to the audit file; one per file, in the control process. One thread writes, another one may flush."""

    def __init__(
        self, path: Path, rotate_bytes: int, keep: int = 0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Open or make the file, mode 0640, and its directory, mode 0750.

        A file that would grow over `rotate_bytes` is renamed to `<name>-<UTC time>-<number><suffix>`; `keep` is how
        many of those remain, 0 all of them. Raises OSError, among them BlockingIOError where another process writes
        this file.
        """
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._monotonic = monotonic
        self._synced = monotonic()
        self._unsynced = False
        self._flushing = Lock()
        """Held while the file is flushed, which may take long, and while another one takes its place."""
        self._descriptor = _open(path)
        self._size = os.fstat(self._descriptor).st_size

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines given without their line feed: all of them, or none and OSError."""
        data = b"".join(line + b"\n" for line in lines)
        if not self._is_ours():
            self._reopen()
        if self._size and self._size + len(data) > self._rotate_bytes:
            self._rotate()
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            # Room for a truncation is always there; the lines come again with the next attempt.
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)
        self._unsynced = True

    def recent(self, max_bytes: int = 1 << 22) -> list[bytes]:
        """The lines in which the file ends, without their line feeds. Raises OSError."""
        start = max(0, self._size - max_bytes)
        lines = os.pread(self._descriptor, self._size - start, start).split(b"\n")
        return lines[1 if start else 0 : -1]

    def sync(self, *, now: bool = False) -> None:
        """Flush to the disk if something was written and the last flush is a second ago, or at once. Raises OSError."""
        with self._flushing:
            moment = self._monotonic()
            if not self._unsynced or not (now or moment - self._synced >= _SYNC_EVERY_S):
                return
            # Before: what is written meanwhile is for the next time.
            self._unsynced = False
            try:
                self._flush()
            except OSError:
                self._unsynced = True
                raise
            self._synced = moment

    def close(self) -> None:
        """Flush and close. Raises OSError."""
        try:
            self.sync(now=True)
        finally:
            os.close(self._descriptor)

    def _flush(self) -> None:
        os.fdatasync(self._descriptor)

    def _is_ours(self) -> bool:
        """Whether the file at the path is still the open one; others may rotate or delete it."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def _reopen(self) -> None:
        self.sync(now=True)
        descriptor = _open(self._path)
        with self._flushing:
            os.close(self._descriptor)
            self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def _rotate(self) -> None:
        stem, suffix = self._path.stem, self._path.suffix
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        number, before = 1, self._put_aside()
        # Where the clock was set back it is still the newest: the oldest go first.
        if before and before[-1].stamp >= stamp:
            stamp, number = before[-1].stamp, before[-1].number + 1
        self._path.rename(self._path.with_name(f"{stem}-{stamp}-{number}{suffix}"))
        self._reopen()
        if self._keep:
            for old in self._put_aside()[: -self._keep]:
                old.path.unlink(missing_ok=True)

    def _put_aside(self) -> list[_PutAside]:
        """The files that were put aside, oldest first."""
        name = re.compile(rf"{re.escape(self._path.stem)}-(\d{{8}}T\d{{6}}Z)-(\d+){re.escape(self._path.suffix)}")
        paths = self._path.parent.iterdir()
        return sorted([_PutAside(m[1], int(m[2]), path) for path in paths if (m := name.fullmatch(path.name))])


def _open(path: Path) -> int:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _drop_half_line(descriptor, path)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BlockingIOError(error.errno, "another process writes this audit file", str(path)) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _drop_half_line(descriptor: int, path: Path) -> None:
    """Cut what follows the last line feed: a write that did not end, whose records are still in their ring."""
    end = size = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _CHUNK)
        line_feed = os.pread(descriptor, end - start, start).rfind(b"\n")
        if line_feed >= 0:
            end = start + line_feed + 1
            break
        end = start
    if end == size:
        return
    # After a crash of the machine there can be zeros.
    begin = os.pread(descriptor, len(_BEGIN), end).rstrip(b"\0")
    if not _BEGIN.startswith(begin):
        raise FileExistsError(errno.EEXIST, "the file is there, and does not end in an audit record", str(path))
    os.ftruncate(descriptor, end)
