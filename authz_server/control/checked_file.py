"""Files of this server that it reads again in a later run, and believes only where they are whole and its own.

Such a file is a line with its format, the SHA-256 of what follows, and that.
"""

import os
import stat
from hashlib import sha256
from pathlib import Path

from authz_server.control.secret_file import write_secret_file

_CHECKSUM_BYTES = sha256().digest_size


class NothingKept(Exception):
    """There is nothing that may be used; says why, for people."""


class NothingThere(NothingKept):
    """There is no such file, because none was written yet."""


def write_checked(path: Path, format: bytes, payload: bytes) -> None:
    """Replace the file in one step; after a crash it is whole, the one or the other. Blocks. Raises OSError.

    `format` is a line of text with its line feed.
    """
    write_secret_file(path, b"".join((format, sha256(payload).digest(), payload)))


def read_checked(path: Path, format: bytes, max_bytes: int) -> memoryview:
    """The payload of a file of this format, which has `max_bytes` at most. Blocks. Raises NothingKept."""
    content = read_own(path, max_bytes)
    if not content.startswith(format):
        raise NothingKept("it is no file of this format; another version may have written it")
    start = len(format) + _CHECKSUM_BYTES
    payload = memoryview(content)[start:]
    if sha256(payload).digest() != content[len(format) : start]:
        raise NothingKept("it is damaged: its checksum is wrong")
    return payload


def read_own(path: Path, max_bytes: int) -> bytes:
    """A file that nobody else could have written or read. Blocks. Raises NothingKept, and of it NothingThere."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NothingThere("there is none yet") from None
    except OSError as error:
        raise NothingKept(f"it cannot be opened: {error.strerror}") from None
    try:
        _check_owner(os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise NothingKept(f"it cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise NothingKept(f"it is larger than {max_bytes:,} bytes")
    return content


def _check_owner(info: os.stat_result) -> None:
    """Refuse a file that somebody else could have put here: it would decide everything. Raises NothingKept."""
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        raise NothingKept("it is no regular file of its own")
    if info.st_uid != os.geteuid():
        raise NothingKept(f"it belongs to the user {info.st_uid}, and this runs as {os.geteuid()}")
    if stat.S_IMODE(info.st_mode) & 0o077:
        raise NothingKept(f"others may use it: its mode is {stat.S_IMODE(info.st_mode):04o}, not 0600")
