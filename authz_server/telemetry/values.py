"""Numbers in a memory-mapped file that outlives the process that counts, read by another one.

The format is that of prometheus_client's multiprocess mode, so that its MultiProcessCollector reads the files; all
numbers are native-endian. At 0 stands how many bytes are in use (32 bits). From 8 on entries follow each other: length
of the key (32 bits), the key padded with spaces so that what follows is aligned to 8, the value and a time stamp
(doubles). The key is the JSON text `[metric, sample, {label: value}, help]`.

A value changes with one aligned 8-byte write, and bytes come into use after they were written: a process killed at
any instruction leaves every number whole.
"""

import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from struct import Struct as Layout

from authz_server.bounds import MIB, Bound
from authz_server.reserved import reserved_file

MAX_BYTES = 4 * MIB
"""Room for about 25,000 numbers."""
_SMALLEST_ENTRY_BYTES = 128
NUMBERS = Bound(
    "metrics",
    "worker",
    entries=3 * MAX_BYTES // _SMALLEST_ENTRY_BYTES,
    bytes=3 * 4 * MAX_BYTES,
    holds="Mapped files of numbers, and where in them each number is.",
    full="Rules and services are counted together, as `(other)`.",
    kept_in=("ValueFile._cells",),
)
_INITIAL_BYTES = 1 << 16
_SPARE_BYTES = 1 << 14
_FIRST = 8
_LENGTH = Layout("=I")


class ValueFile:
    """One file of numbers; not safe to share between threads."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        """Open or make the file, mode 0600; what an earlier process counted goes on. Raises OSError."""
        self._max_bytes = max_bytes
        self._cells: dict[bytes, int] = {}
        if not path.exists():
            _create(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._map(max(_INITIAL_BYTES, os.fstat(self._descriptor).st_size))
        self._used[0] = self._used[0] or _FIRST
        position = _FIRST
        while position < self._used[0]:
            (length,) = _LENGTH.unpack_from(self._mapping, position)
            key = self._mapping[position + 4 : position + 4 + length]
            position += 4 + length + _padding(length)
            self._cells[key] = position // 8
            position += 16

    def cell(
        self, metric: str, sample: str, labels: Mapping[str, str], help_text: str, *, spare: bool = False
    ) -> int | None:
        """The index in `values` of a number, 0.0 at first; None where there is no room for one more.

        The last 16 KiB are for those that are asked for with `spare`.
        """
        key = json.dumps([metric, sample, labels, help_text], sort_keys=True).encode()
        if key in self._cells:
            return self._cells[key]
        entry = _LENGTH.pack(len(key)) + key + b" " * _padding(len(key)) + bytes(16)
        end = self._used[0] + len(entry)
        if end > self._max_bytes - (0 if spare else _SPARE_BYTES) or not self._has_room(end):
            return None
        self._mapping[self._used[0] : end] = entry
        self._used[0] = end
        self._cells[key] = (end - 16) // 8
        return self._cells[key]

    def close(self) -> None:
        """Close the file; the numbers stay in it."""
        self.values.release()
        self._used.release()
        self._mapping.close()
        os.close(self._descriptor)

    def _has_room(self, end: int) -> bool:
        if end > len(self._mapping):
            try:
                self._map(2 * len(self._mapping))
            except OSError:
                return False
        return True

    def _map(self, size: int) -> None:
        # Reserved, so that a full disk shows here and not as a signal when a number changes.
        os.posix_fallocate(self._descriptor, 0, size)
        self._mapping = mmap.mmap(self._descriptor, size)
        self.values = memoryview(self._mapping).cast("d")
        """The numbers. To be asked for before each use: the file may have grown."""
        self._used = memoryview(self._mapping)[:4].cast("I")


def _create(path: Path) -> None:
    # A file of zeros holds no number. Metrics may be asked for at any moment.
    with reserved_file(path, _INITIAL_BYTES):
        pass


def _padding(length: int) -> int:
    return 8 - (length + 4) % 8
