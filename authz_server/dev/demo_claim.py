"""One demo in a directory: a second would write over the files of the first."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = ".demo"


class ClaimedError(Exception):
    """Another demo runs here; the message says which."""


@contextmanager
def claimed(directory: Path, port: int) -> Iterator[None]:
    """Hold the directory while the block runs; the kernel lets go of it however we end. Raises ClaimedError."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read(100).strip()
            raise ClaimedError(f"another demo runs in {directory}: {holder}") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, Envoy on port {port}\n")
        file.flush()
        yield
