"""Files that others read while they are written: each appears whole, or not at all."""

import os
from pathlib import Path

PUBLIC = 0o644
SECRET = 0o600


def write_file(path: Path, text: str, mode: int = PUBLIC) -> None:
    """Replace `path` in one step, making its directory where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def write_secret(path: Path, text: str) -> None:
    """The same, readable by the owner alone."""
    write_file(path, text, SECRET)
