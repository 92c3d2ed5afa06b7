"""Locks that keep a second server out of a directory, or from a file."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from authz_server.control.errors import CannotStart

_NAME = ".authz.lock"


class Locked(CannotStart):
    """Another server has the directory or file; says which process."""


class _Lock:
    """Held while this process lives, or until the `with` ends; it goes with the process, however that ends."""

    def __init__(self, what: Path, lock: Path) -> None:
        """Make the directory of the lock where it is missing. Raises Locked, OSError."""
        lock.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise Locked(f"{what} is in use by another authz server (process {holder or 'unknown'})") from None
        # The file stays: removing it could take a lock away from whoever opened it meanwhile.
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another server have the directory."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class DirectoryLock(_Lock):
    """Of a directory that one server alone uses."""

    def __init__(self, directory: Path) -> None:
        """Make it where it is missing, and lock it. Raises Locked, OSError."""
        super().__init__(directory, directory / _NAME)


class FileLock(_Lock):
    """Of a file that one server alone writes, in a directory that others may use."""

    def __init__(self, file: Path) -> None:
        """Lock it, whether it is there or not. Raises Locked, OSError."""
        super().__init__(file, file.with_name(f".{file.name}.lock"))
