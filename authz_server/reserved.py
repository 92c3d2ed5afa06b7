"""Files of a fixed size, which several processes map or write in place."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def reserved_file(path: Path, size: int) -> Iterator[int]:
    """Make a file of so many bytes, mode 0600, which takes the place of any at `path` when the block has written to it.

    Its room is reserved, so that a full disk shows here, and not as a signal in whoever maps it. It has another name
    meanwhile, so that nobody who opens `path` meets half of it. Gives the descriptor. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with ExitStack() as after:
        after.callback(draft.unlink, missing_ok=True)
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        after.callback(os.close, descriptor)
        os.posix_fallocate(descriptor, 0, size)
        yield descriptor
        draft.rename(path)
