"""Files of users that a command writes: all of a change or nothing."""

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


class ChangedMeanwhileError(OSError):
    """Somebody else has written the file since it was read."""


def replace(path: Path, before: bytes, content: bytes) -> None:
    """Put a content in the place of the one that was read; mode and links stay, and the owner as far as one may.

    Raises ChangedMeanwhileError where the file holds something else by now, and OSError.
    """
    target = path.resolve()
    if target.read_bytes() != before:
        raise ChangedMeanwhileError(None, "the file changed meanwhile; run the command again", str(path))
    put(target, content, target.stat())


def put(path: Path, content: bytes, like: os.stat_result | None = None) -> None:
    """Put a file there, in place of another if there is one; its owner and mode are as of `like`. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    draft = Path(name)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if like is not None:
                # Root must not take a file away from the server that reads it.
                with suppress(PermissionError):
                    os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, 0o644 if like is None else like.st_mode & 0o7777)
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def create(path: Path, content: bytes) -> None:
    """Write a file that is not there yet. Raises FileExistsError and OSError."""
    with path.open("xb") as stream:
        stream.write(content)


def create_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a directory that is not there yet, with these files by their paths below it.

    The paths are trusted. Raises FileExistsError and OSError.
    """
    if path.exists() or path.is_symlink():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        for name, content in files.items():
            file = draft / name
            file.parent.mkdir(parents=True, exist_ok=True)
            create(file, content)
        draft.chmod(0o755)
        draft.rename(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
