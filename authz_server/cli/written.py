"""Files of users that a command writes: all of a change or nothing."""

import os
import tempfile
from pathlib import Path


class ChangedMeanwhileError(OSError):
    """Somebody else has written the file since it was read."""


def replace(path: Path, before: bytes, content: bytes) -> None:
    """Put a content in the place of the one that was read; mode and links stay.

    Raises ChangedMeanwhileError where the file holds something else by now, and OSError.
    """
    target = path.resolve()
    if target.read_bytes() != before:
        raise ChangedMeanwhileError(None, "the file changed meanwhile; run the command again", str(path))
    mode = target.stat().st_mode & 0o7777
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    draft = Path(name)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(mode)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def create(path: Path, content: bytes) -> None:
    """Write a file that is not there yet. Raises FileExistsError and OSError."""
    with path.open("xb") as stream:
        stream.write(content)
