"""Replaces the policy files of a directory, so that nobody ever reads a mixture of two.

While files are replaced, the directory holds one that no server takes; what decides meanwhile goes on deciding. Should
this be interrupted, that file stays, says what to do, and keeps the mixture from being used.

Everything is done relative to the directory as it was opened, and no link is followed below it: this may be run by root
in a directory that belongs to somebody else.
"""

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from authz_server.documents.problem import Problem
from authz_server.policy.files import PolicyFile, read_directory, revision

BARRIER = "authz-rollback-unfinished.yaml"
_BARRIER_TEXT = """\
# The policies here were being replaced by those of the revision {name}, which did not finish.
# As long as this file is here, no server takes the directory; what decided before goes on. To finish it:
#   authz rollback --force {name}
kind: unfinished-rollback
"""
_NEW = ".rollback-new"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class NotReplaced(Exception):
    """Why nothing was changed, for people; with problems of policies, where it is because of them."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class Unfinished(Exception):
    """It was interrupted: the directory is refused by every server until the revision is put there again."""

    def __init__(self, message: str, revision: str, barrier: Path) -> None:
        super().__init__(message)
        self.revision = revision
        self.barrier = barrier
        """The file that keeps servers from taking the directory."""


class Replacement:
    """Replaces the files of a directory by those of a revision."""

    def __init__(self, root: int, directory: Path, present: Iterable[PolicyFile], wanted: Iterable[PolicyFile]) -> None:
        """`root` is the descriptor of the directory."""
        self._root = root
        self._directory = directory
        old, new = {file.path: file.content for file in present}, {file.path: file.content for file in wanted}
        self._content = {path: content for path, content in new.items() if old.get(path) != content}
        self.written = tuple(sorted(self._content))
        self.removed = tuple(sorted(old.keys() - new.keys()))

    def run(self, name: str) -> None:
        """Make it the revision of this name. Raises NotReplaced, Unfinished."""
        try:
            # All that can fill a disk comes before anything changes.
            for path in self.written:
                _write_beside(self._root, path, self._content[path])
            _write_beside(self._root, BARRIER, _BARRIER_TEXT.format(name=name).encode())
            _put_in_place(self._root, BARRIER)
        except OSError as error:
            self._clean_up()
            raise NotReplaced(f"the policies cannot be written: {_told(error)}") from None
        try:
            for path in self.written:
                _put_in_place(self._root, path)
            for path in self.removed:
                _remove(self._root, path)
            self._check(name)
            _remove(self._root, BARRIER)
        except OSError as error:
            raise Unfinished(f"it did not finish: {_told(error)}", name, self._directory / BARRIER) from None

    def _check(self, name: str) -> None:
        """Whoever edits at the same time, or links that lead to each other, make it something else."""
        found, _ = read_directory(self._directory)
        here = is_at(self._root, self._directory)
        if not here or revision([file for file in found if file.path != BARRIER]) != name:
            message = f"the directory does not hold the revision {name} after all: did somebody edit it just now?"
            raise Unfinished(message, name, self._directory / BARRIER)

    def _clean_up(self) -> None:
        for path in (*self.written, BARRIER):
            with suppress(OSError), _folder_of(self._root, path) as (folder, name):
                os.unlink(_beside(name), dir_fd=folder)


@contextmanager
def alone_in(directory: Path) -> Iterator[int]:
    """Open the directory, which is made if there is none, and keep other replacements out. Raises NotReplaced."""
    directory.mkdir(parents=True, exist_ok=True)
    root = os.open(directory, _FOLDER)
    try:
        fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield root
    except BlockingIOError:
        raise NotReplaced("another rollback or promotion in this directory is under way") from None
    finally:
        os.close(root)


def is_at(root: int, directory: Path) -> bool:
    """Whether the directory that was opened is still the one of this path."""
    try:
        return os.path.samestat(os.fstat(root), directory.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _folder_of(root: int, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """The folder of a file below the directory, and the name of the file there. Raises OSError, for links as well."""
    *folders, name = path.split("/")
    descriptor = os.dup(root)
    try:
        for folder in folders:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(folder, 0o755, dir_fd=descriptor)
            inner = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor, name
    finally:
        os.close(descriptor)


def _beside(name: str) -> str:
    # Hidden, so that no server reads it.
    return f".{name}{_NEW}"


def _write_beside(root: int, path: str, content: bytes) -> None:
    with _folder_of(root, path, make=True) as (folder, name):
        new = _beside(name)
        with suppress(FileNotFoundError):
            os.unlink(new, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(new, flags, 0o644, dir_fd=folder)
        with open(descriptor, "wb") as stream:
            with suppress(FileNotFoundError):
                _make_alike(descriptor, folder, name)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)


def _make_alike(descriptor: int, folder: int, name: str) -> None:
    """Owner and mode for what takes the place of a file; of a link, who may read what it leads to."""
    info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(info.st_mode):
        os.fchmod(descriptor, os.stat(name, dir_fd=folder).st_mode & 0o644)
        return
    # Root must not take a file away from the server that reads it.
    with suppress(PermissionError):
        os.fchown(descriptor, info.st_uid, info.st_gid)
    os.fchmod(descriptor, info.st_mode & 0o777)


def _put_in_place(root: int, path: str) -> None:
    with _folder_of(root, path) as (folder, name):
        os.replace(_beside(name), name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


def _remove(root: int, path: str) -> None:
    with _folder_of(root, path) as (folder, name):
        os.unlink(name, dir_fd=folder)
        os.fsync(folder)


def _told(error: OSError) -> str:
    # A folder that is a link is none for who follows no links.
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{place}{error.strerror or error}"
