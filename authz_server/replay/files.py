"""The lines of audit files, which may be compressed."""

import gzip
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

STDIN = Path("-")
_GZIP = b"\x1f\x8b"
STEP = 1 << 16
"""Bytes of a file, about, after which is told how far it is."""
MAX_LINE = 1 << 20
"""Bytes of a line; what is longer is no record, and is cut into several that are none."""


def lines_of(path: Path, advance: Callable[[int], object]) -> Iterator[bytes]:
    """The lines of a file, or of standard input (`-`); compressed ones (gzip) are known by how they begin.

    `advance` is told how many bytes of the file were read since it was told last. Raises OSError, EOFError.
    """
    if path == STDIN:
        yield from _lines(sys.stdin.buffer)
        return
    with path.open("rb") as file:
        told = 0
        compressed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        for line in _lines(gzip.GzipFile(fileobj=file) if compressed else file):
            yield line
            if file.tell() - told >= STEP:
                advance(file.tell() - told)
                told = file.tell()
        advance(file.tell() - told)


def _lines(file: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE):
        yield line
