"""The rings of all worker slots, as the control process sees them.

A worker of an earlier control process may still be finishing its calls when the next control process starts. So each
control process makes rings of its own, and drains what it finds of earlier ones until their producers are gone.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path

from authz_server.audit.ring import RingConsumer, RingError, create_ring

_SUFFIX = ".ring"


class Rings:
    """The rings in one directory that belongs to one running control process."""

    def __init__(self, directory: Path, size: int) -> None:
        """Find what earlier control processes left; `size` is the bytes of each ring made here. Raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._size = size
        self._run = secrets.token_hex(4)
        self._own: dict[int, RingConsumer] = {}
        self._left: list[tuple[int, RingConsumer]] = []
        self.unreadable: list[int] = []
        """Worker slots of rings that were there and could not be read, one for each; whoever records them clears it."""
        for draft in directory.glob(f".*{_SUFFIX}.new"):
            draft.unlink()
        for path in sorted(directory.glob(f"*{_SUFFIX}")):
            self._find(path)

    def create(self, slot: int) -> Path:
        """The path of the ring of a worker slot, made when first asked for. Raises OSError where there is no room."""
        if slot not in self._own:
            path = self._directory / f"{slot}.{self._run}{_SUFFIX}"
            create_ring(path, self._size)
            self._own[slot] = RingConsumer(path)
        return self._own[slot].path

    def __iter__(self) -> Iterator[tuple[int, RingConsumer]]:
        """Each ring with the slot of its worker, those of earlier control processes first."""
        yield from self._left
        # A copy: a ring may be made while another thread drains.
        yield from list(self._own.items())

    def remove_finished(self) -> list[RingConsumer]:
        """Delete what earlier control processes left, once it is empty and nobody can append to it any more."""
        finished = [ring for _, ring in self._left if _remove_if_finished(ring)]
        self._left = [(slot, ring) for slot, ring in self._left if ring not in finished]
        return finished

    def close(self) -> None:
        """Delete every ring that is finished; the others stay for the next control process."""
        for _, ring in self:
            if not _remove_if_finished(ring):
                ring.close()
        self._left, self._own = [], {}

    def _find(self, path: Path) -> None:
        slot = path.name.split(".")[0]
        if not slot.isdecimal():
            return
        try:
            self._left.append((int(slot), RingConsumer(path)))
        except RingError:
            # A crash of the machine can leave an empty or torn file; what it held is lost.
            self.unreadable.append(int(slot))
            path.unlink()


def _remove_if_finished(ring: RingConsumer) -> bool:
    # In this order: without a producer, an empty ring stays empty.
    if ring.has_producer() or not ring.is_empty():
        return False
    ring.close()
    ring.path.unlink(missing_ok=True)
    return True
