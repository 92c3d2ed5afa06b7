"""Policies that decided, on disk: the last ones for a start with a broken directory, earlier ones as revisions.

A file holds the texts, not what was made of them: whoever reads it compiles them again, with the program and the
configuration of that moment. It is a line with the format, the SHA-256 of what follows, and that: a MessagePack object.
"""

import os
import stat
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from authz_server.control.secret_file import write_secret_file
from authz_server.policy.files import MAX_FILES, MAX_TOTAL_BYTES, PolicyFile, policy_file, revision
from authz_server.policy.plan import Plan

LAST_GOOD = "policies.last-good"
_FORMAT = b"authz-server last good policies, format 1\n"
_CHECKSUM_BYTES = sha256().digest_size
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


class NothingKept(Exception):
    """There is nothing that may be used; says why, for people."""


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
        payload = msgspec.msgpack.encode(kept)
        write_secret_file(self.path, b"".join((_FORMAT, sha256(payload).digest(), payload)))

    def read(self) -> Kept:
        """What is kept, its files as if they had just been read. Raises NothingKept."""
        content = self._content()
        if not content.startswith(_FORMAT):
            raise NothingKept("it is no file of this format; another version may have written it")
        start = len(_FORMAT) + _CHECKSUM_BYTES
        payload = memoryview(content)[start:]
        if sha256(payload).digest() != content[len(_FORMAT) : start]:
            raise NothingKept("it is damaged: its checksum is wrong")
        try:
            kept = msgspec.msgpack.decode(payload, type=_Kept)
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

    def _content(self) -> bytes:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NothingKept("there is none yet") from None
        except OSError as error:
            raise NothingKept(f"it cannot be opened: {error.strerror}") from None
        try:
            _check_owner(os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as stream:
                content = stream.read(_MAX_BYTES + 1)
        except OSError as error:
            raise NothingKept(f"it cannot be read: {error.strerror}") from None
        finally:
            os.close(descriptor)
        if len(content) > _MAX_BYTES:
            raise NothingKept(f"it is larger than {_MAX_BYTES:,} bytes")
        return content


def _check_owner(info: os.stat_result) -> None:
    """Refuse a file that somebody else could have put here: it would decide everything. Raises NothingKept."""
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        raise NothingKept("it is no regular file of its own")
    if info.st_uid != os.geteuid():
        raise NothingKept(f"it belongs to the user {info.st_uid}, and this runs as {os.geteuid()}")
    if stat.S_IMODE(info.st_mode) & 0o077:
        raise NothingKept(f"others may use it: its mode is {stat.S_IMODE(info.st_mode):04o}, not 0600")
