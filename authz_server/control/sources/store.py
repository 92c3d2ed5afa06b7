"""What was fetched last, on disk: a directory of files like any other, and beside it what they must be.

A link leads to them, so that they are replaced in one step. Whoever reads them compares them with the hash that is
kept beside them: only what was fetched is used, after a restart as well.
"""

import os
import shutil
from collections.abc import Collection
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock

import msgspec
from msgspec import Struct

from authz_server.control.checked_file import NothingKept, read_own
from authz_server.control.secret_file import write_secret_file
from authz_server.control.settings.sources import CURRENT, FILES
from authz_server.control.sources.source import Found, Refused
from authz_server.documents.problem import Position, Problem
from authz_server.policy.compiler.numbered import revision_number
from authz_server.policy.files import PolicyFile, read_directory, revision
from authz_server.policy.parsing import parse_policy

STATE = "fetched.json"
_MAX_STATE_BYTES = 64 * 1024
_PREFIX = "fetched-"


class State(Struct, frozen=True, forbid_unknown_fields=True):
    """About the policies that were fetched."""

    version: str
    """What the source calls them."""
    revision: str
    """The hash of their files."""
    fetched: float
    """In seconds since the epoch."""
    key: str | None
    """Id of the key that vouches for them."""
    number: int | None
    """That they give themselves; later policies have none that is smaller."""


class NotRestored(Exception):
    """What is kept cannot be used; says why, for people."""


class NotTrusted(NotRestored):
    """What is kept must not be used: nobody vouches for it any more."""


class FetchedPolicies:
    """The directory of one source. Its methods block."""

    def __init__(self, directory: Path, place: str) -> None:
        """`place` is the source, for people."""
        self.directory = directory
        self.policies = directory / CURRENT / FILES
        self.state: State | None = None
        """Of the policies that are there."""
        self.damaged = False
        """Whether the files were not those of `state` when they were read last."""
        self._place = place
        self._swap = Lock()
        """Held while the files are read, or others put in their place."""

    def restore(self, keys: Collection[str] | None) -> None:
        """Take up what an earlier run has fetched, if anything; `keys` are the ids of those trusted now.

        Raises NotRestored, NotTrusted, after which nothing is there.
        """
        link = self.directory / CURRENT
        if not link.is_symlink():
            return
        try:
            state = msgspec.json.decode(read_own(link / STATE, _MAX_STATE_BYTES), type=State)
        except (NothingKept, msgspec.DecodeError) as error:
            link.unlink()
            raise NotRestored(f"`{STATE}` cannot be read: {error}") from None
        if keys is not None and state.key not in keys:
            link.unlink()
            raise NotTrusted(f"it is signed by the key {state.key}, which is trusted no longer")
        self.state = state

    def read(self) -> tuple[list[PolicyFile], list[Problem]]:
        """The files that were fetched last; a problem where there are none, or others than those."""
        with self._swap:
            if self.state is None:
                message = f"nothing that can be used has been fetched from {self._place} yet"
                return [], [self._problem("nothing_fetched", message, "the log and `/readyz` say why")]
            files, problems = read_directory(self.policies)
            self.damaged = revision(files) != self.state.revision
        if self.damaged:
            message = f"the files are not those that were fetched from {self._place}"
            return [], [self._problem("fetched_altered", message, "they are fetched again; edit them at their source")]
        return files, problems

    def put(self, found: Found, now: float, *, accept_older: bool) -> bool:
        """Let these be the policies; whether the files are others than before. Raises Refused, OSError."""
        state = State(found.version, revision(found.files), now, found.key, _number(found.files))
        before = self.state
        if before is not None and not accept_older:
            _check_number(before.number, state)
        if before is not None and before.revision == state.revision and not self.damaged:
            write_secret_file(self.directory / CURRENT / STATE, msgspec.json.encode(state))
            self.state = state
            return False
        self._replace(found, state)
        return True

    def _replace(self, found: Found, state: State) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = Path(mkdtemp(prefix=_PREFIX, dir=self.directory))
        try:
            _write(fresh / FILES, found.files)
            # Names that no directory of policies has, or a disk that does not keep what it takes.
            if revision(read_directory(fresh / FILES)[0]) != state.revision:
                message = "names of its files are not those of policies, or two of them are one on this disk"
                raise Refused("fetched_unusable_names", message, found.version)
            write_secret_file(fresh / STATE, msgspec.json.encode(state))
            link = fresh / "link"
            link.symlink_to(fresh.name)
            with self._swap:
                link.replace(self.directory / CURRENT)
                self.state, self.damaged = state, False
        except (OSError, Refused):
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        # What was replaced, and what an earlier run has left unfinished.
        for path in self.directory.glob(f"{_PREFIX}*"):
            if path != fresh:
                shutil.rmtree(path, ignore_errors=True)

    def _problem(self, code: str, message: str, hint: str) -> Problem:
        return Problem(Position(str(self.policies), 1, 1), code, message, hint)


def _write(directory: Path, files: Collection[PolicyFile]) -> None:
    """Write the files; not each to the disk itself, for whoever reads them compares them."""
    directory.mkdir(mode=0o700)
    for file in files:
        path = directory / file.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
            stream.write(file.content)


def _number(files: Collection[PolicyFile]) -> int | None:
    parsed = [parse_policy(file)[0] for file in files if b"revision" in file.content]
    return revision_number(each for each in parsed if each is not None)[0]


def _check_number(before: int | None, state: State) -> None:
    if before is None or (state.number is not None and state.number >= before):
        return
    theirs = "they have none" if state.number is None else f"theirs is {state.number}"
    message = f"older policies are there again: the number of those before is {before}, and {theirs}"
    raise Refused("older_policies", message, state.version)
