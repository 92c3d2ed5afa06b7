"""How often a worker has ended lately, and how long its successor waits because of that."""

import time
from collections import deque
from collections.abc import Callable

from authz_server.bounds import KIB, Bound

LATELY_S = 60.0
MANY = 3
"""Ends within that time that somebody should look into."""
ENDS = Bound(
    "ends of a worker",
    "worker",
    100,
    16 * KIB,
    "When the workers of a slot have ended in the last minute, in the control process.",
    "The oldest is forgotten.",
    kept_in=("Crashes._at",),
)


class Crashes:
    """The ends of the workers of one slot."""

    def __init__(
        self, first_pause_s: float, longest_pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._clock = clock
        self._at: deque[float] = deque(maxlen=ENDS.entries)
        self._last = ""

    def add(self, problem: str) -> None:
        """A worker has ended, or could not start, for this reason."""
        self._at.append(self._clock())
        self._last = problem

    @property
    def pause_s(self) -> float:
        """None after a single end; then longer with each that came within a minute."""
        before = self._lately() - 1
        return 0.0 if before < 1 else min(self._first_pause_s * 2 ** (before - 1), self._longest_pause_s)

    @property
    def problem(self) -> str | None:
        """What to tell of it; None while there were few."""
        count = self._lately()
        return None if count < MANY else f"has ended {count} times in the last minute, last: {self._last}"

    def _lately(self) -> int:
        while self._at and self._at[0] <= self._clock() - LATELY_S:
            self._at.popleft()
        return len(self._at)
