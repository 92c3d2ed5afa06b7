"""How much of anything is kept at most. docs/operations.md shows every bound; a test compares the two."""

from typing import Literal, NamedTuple

KIB = 1024
MIB = 1024 * KIB

Of = Literal["connection", "file", "issuer", "server", "snapshot", "worker"]
"""What each has one of. A trust domain whose bundle is fetched counts as an issuer."""


class Bound(NamedTuple):
    """The most that a cache, a queue or a buffer holds; stands as a constant of the module that keeps it."""

    name: str
    of: Of
    entries: int
    bytes: int
    """Of memory, about; of a file that is mapped, its size."""
    holds: str
    full: str
    """What happens when there is no room."""
    kept_in: tuple[str, ...] = ()
    """Attributes (`Class.attribute`) and functions of the module that hold it."""


class Room:
    """Counts what is kept in a dict that is emptied when it is full; not exact where threads meet."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._entries = self._bytes = 0

    def is_full_for(self, size: int) -> bool:
        """Count one more entry of so many bytes; whether all those before it have to go first."""
        full = self._entries >= self._bound.entries or self._bytes + size > self._bound.bytes
        if full:
            self._entries = self._bytes = 0
        self._entries += 1
        self._bytes += size
        return full
