"""Files that hold secrets of this server."""

import os
from pathlib import Path


def write_secret_file(path: Path, content: bytes) -> None:
    """Replace the file in one step; it is readable by its owner alone. Blocks. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(content)
    draft.replace(path)
