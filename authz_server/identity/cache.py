"""A cache with a bound in entries and in bytes."""

import sys
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps what was put last; the oldest goes out first. Safe to share between threads.

    Sizes are the caller's estimate of what an entry takes, in bytes.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._entries: dict[K, tuple[V, int]] = {}
        self._bytes = 0
        self._lock = Lock()
        # Counted without the lock: an increment that is lost now and then is worth less than what it costs.
        self.hits = 0
        self.misses = 0

    def get(self, key: K) -> V | None:
        """The value that was put under this key, if it is still here."""
        # One look-up in a dict needs no lock, and every request makes several.
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        return entry[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of about `size` bytes; one that is larger than the whole cache is not kept."""
        with self._lock:
            self._remove(key)
            if size > self.max_bytes or self.max_entries < 1:
                return
            self._entries[key] = (value, size)
            self._bytes += size
            while len(self._entries) > self.max_entries or self._bytes > self.max_bytes:
                self._remove(next(iter(self._entries)))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """The sum of the sizes of all entries."""
        return self._bytes

    def _remove(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[1]


def size_of(value: object) -> int:
    """How many bytes of memory a JSON value takes, about; or a collection of them."""
    total = 0
    waiting = [value]
    while waiting:
        value = waiting.pop()
        total += sys.getsizeof(value)
        if isinstance(value, list | tuple | frozenset):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
    return total
