"""Puts a revision that was kept back into the directory of policies, so that nobody ever reads a mixture of two.

While files are replaced, the directory holds one that no server takes; what decides meanwhile goes on deciding. Should
this be interrupted, that file stays, says what to do, and keeps the mixture from being used.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from authz_server.control.revisions import NoRevision, Revision, Revisions
from authz_server.documents.problem import Problem
from authz_server.policy.compiler import KnownNames
from authz_server.policy.files import PolicyFile, read_directory, revision
from authz_server.policy.loader import load_files

BARRIER = "authz-rollback-unfinished.yaml"
_BARRIER_TEXT = """\
# `authz rollback {name}` was replacing the policies here and did not finish. As long as this file is here,
# no server takes the directory; what decided before goes on. To finish it:
#   authz rollback --force {name}
kind: unfinished-rollback
"""
_NEW = ".rollback-new"


class NotRolledBack(Exception):
    """Why nothing was changed, for people; with problems of policies, where it is because of them."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class RolledBack(Struct, frozen=True):
    """What was done."""

    revision: str
    before: str | None
    """The revision that the directory had, which is kept; None where there was no policy in it."""
    written: tuple[str, ...]
    removed: tuple[str, ...]
    """Paths below the directory."""


class Unfinished(Exception):
    """It was interrupted: the directory is refused by every server until it is run again."""


def roll_back(
    revisions: Revisions, directory: Path, wanted: Revision, known: KnownNames | None, *, force: bool
) -> RolledBack:
    """Make the directory hold this revision, and keep what it has as one first.

    Without `force`, what it holds must be kept already. Raises NotRolledBack, after which nothing has changed, and
    Unfinished.
    """
    with _alone_in(directory):
        return _roll_back(revisions, directory, wanted, known, force=force)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep other rollbacks out. Raises NotRolledBack."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise NotRolledBack("another rollback of this directory is under way") from None
    finally:
        os.close(descriptor)


def _roll_back(
    revisions: Revisions, directory: Path, wanted: Revision, known: KnownNames | None, *, force: bool
) -> RolledBack:
    found, problems = read_directory(directory)
    if problems:
        raise NotRolledBack("what the directory holds cannot be kept, because it cannot be read", problems)
    loaded = load_files(directory, wanted.files, (), known)
    if loaded.problems:
        message = f"the revision {wanted.revision} does not fit this configuration or version any more"
        raise NotRolledBack(message, loaded.problems)
    present = [file for file in found if file.path != BARRIER]
    before = revision(present) if present else None
    if before is not None:
        _keep(revisions, present, before, force=force)
    steps = _Replacement(directory, present, wanted.files)
    if steps.written or steps.removed or len(found) > len(present):
        steps.run(wanted.revision)
    return RolledBack(wanted.revision, before, steps.written, steps.removed)


def _keep(revisions: Revisions, files: Sequence[PolicyFile], name: str, *, force: bool) -> None:
    try:
        revisions.read(name)
    except NoRevision:
        if not force:
            message = f"the directory has changes that no server has activated (revision {name}, which is not kept)"
            raise NotRolledBack(message) from None
        try:
            revisions.write(files, time.time())
            revisions.read(name)
        except (OSError, NoRevision) as error:
            raise NotRolledBack(f"what the directory holds cannot be kept: {error}") from None


class _Replacement:
    """Replaces the files of a directory by those of a revision."""

    def __init__(self, directory: Path, present: Iterable[PolicyFile], wanted: Iterable[PolicyFile]) -> None:
        self._directory = directory
        old, new = {file.path: file.content for file in present}, {file.path: file.content for file in wanted}
        self._content = {path: content for path, content in new.items() if old.get(path) != content}
        self.written = tuple(sorted(self._content))
        self.removed = tuple(sorted(old.keys() - new.keys()))

    def run(self, name: str) -> None:
        """Do it. Raises NotRolledBack, Unfinished."""
        barrier = self._directory / BARRIER
        try:
            # All that can fill a disk comes before anything changes.
            for path in self.written:
                _write_beside(self._directory / path, self._content[path])
            _write_beside(barrier, _BARRIER_TEXT.format(name=name).encode())
            _put_in_place(barrier)
        except OSError as error:
            self._clean_up()
            raise NotRolledBack(f"the policies cannot be written: {error}") from None
        try:
            for path in self.written:
                _put_in_place(self._directory / path)
            for path in self.removed:
                (self._directory / path).unlink()
            self._check(name)
            barrier.unlink()
            _flush(self._directory)
        except OSError as error:
            raise Unfinished(f"it did not finish: {error}; see {barrier}") from None

    def _check(self, name: str) -> None:
        """Whoever edits at the same time, or links that lead to each other, make it something else."""
        found, _ = read_directory(self._directory)
        if revision([file for file in found if file.path != BARRIER]) != name:
            raise Unfinished(
                f"the directory does not hold the revision {name} after all: did somebody edit it just now? "
                f"See {self._directory / BARRIER}"
            )

    def _clean_up(self) -> None:
        for path in (*self.written, BARRIER):
            with suppress(OSError):
                _beside(self._directory / path).unlink()


def _beside(path: Path) -> Path:
    # Hidden, so that no server reads it.
    return path.with_name(f".{path.name}{_NEW}")


def _write_beside(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(path)
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as stream:
        with suppress(FileNotFoundError):
            os.fchmod(descriptor, path.stat().st_mode & 0o777)
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)


def _put_in_place(path: Path) -> None:
    _beside(path).replace(path)
    _flush(path.parent)


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
