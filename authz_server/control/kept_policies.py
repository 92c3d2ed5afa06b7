"""Policies that decided, on disk: the last ones for a start with a broken directory, earlier ones as revisions.

A file holds the texts, not what was made of them: whoever reads it compiles them again, with the program and the
configuration of that moment.
"""

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from authz_server.control.checked_file import NothingKept, read_checked, write_checked
from authz_server.policy.files import MAX_FILES, MAX_TOTAL_BYTES, PolicyFile, policy_file, revision
from authz_server.policy.plan import Plan

LAST_GOOD = "policies.last-good"
_FORMAT = b"authz-server last good policies, format 1\n"
# Paths are of the kernel's length at most.
_MAX_BYTES = MAX_TOTAL_BYTES + MAX_FILES * 4096 + 4096


class _Kept(Struct, frozen=True):
    """Policies that have decided, as they are written."""

    directory: bytes
    """Where they were read."""
    revision: str
    activated: float
    """When they began to decide, in seconds since the epoch."""
    program: str
    """The version that wrote this."""
    files: tuple[tuple[bytes, bytes], ...]
    """Path below the directory, and content."""
    services: int | None = None
    rules: int | None = None
    """How many there are, where somebody has counted."""


class Size(NamedTuple):
    """How much policies hold."""

    services: int
    rules: int


def size_of(plan: Plan) -> Size:
    """How much there is in these policies."""
    return Size(len(plan.services), sum(len(service.rules) for service in plan.services))


class Kept(NamedTuple):
    """Policies that have decided."""

    activated: float
    """When they began to, in seconds since the epoch."""
    files: list[PolicyFile]
    size: Size | None = None


class KeptPolicies:
    """One file, of one server. Its methods block."""

    def __init__(self, path: Path, directory: Path) -> None:
        """`directory` is the one of the policies: what was read elsewhere is never used."""
        self.path = path
        self._directory = directory.absolute()

    def write(self, files: Sequence[PolicyFile], activated: float, size: Size | None = None) -> None:
        """Replace what is kept in one step; after a crash it is whole, the one or the other. Raises OSError."""
        kept = _Kept(
            os.fsencode(self._directory),
            revision(files),
            activated,
            version("authz-server"),
            tuple([(os.fsencode(file.path), file.content) for file in files]),
            *([] if size is None else size),
        )
        write_checked(self.path, _FORMAT, msgspec.msgpack.encode(kept))

    def read(self) -> Kept:
        """What is kept, its files as if they had just been read. Raises NothingKept."""
        try:
            kept = msgspec.msgpack.decode(read_checked(self.path, _FORMAT, _MAX_BYTES), type=_Kept)
        except msgspec.MsgspecError as error:
            raise NothingKept(f"it cannot be read: {error}") from None
        if kept.directory != os.fsencode(self._directory):
            raise NothingKept(f"it is about another directory of policies, {os.fsdecode(kept.directory)!r}")
        files = [policy_file(self._directory, os.fsdecode(path), content) for path, content in kept.files]
        if revision(files) != kept.revision:
            raise NothingKept(f"its files are not those of its revision {kept.revision!r}")
        size = None if kept.services is None or kept.rules is None else Size(kept.services, kept.rules)
        return Kept(kept.activated, files, size)

    def remove(self) -> None:
        """Keep nothing. Raises OSError."""
        self.path.unlink(missing_ok=True)
