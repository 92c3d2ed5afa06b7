"""What was going on when: what is done to the server, and what it reports of itself."""

import threading
import time
from collections import Counter

from msgspec import Struct

FOREVER = float("inf")


class Span(Struct):
    """Something that was done to the server, until its traces were gone; seconds, monotonic."""

    kind: str
    begin: float
    end: float = FOREVER

    def overlaps(self, begin: float, end: float) -> bool:
        """Whether any of it was between these moments."""
        return self.begin <= end and begin <= self.end


class Timeline:
    """All spans so far, and since when each revision was reported active."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._reported: list[tuple[float, int]] = []
        self.begun: Counter[str] = Counter()
        """By kind."""

    def begin(self, kind: str) -> Span:
        """Something begins now."""
        span = Span(kind, time.monotonic())
        with self._lock:
            self._spans.append(span)
            self.begun[kind] += 1
        return span

    def during(self, begin: float, end: float) -> set[str]:
        """The kinds of what was going on between two moments."""
        with self._lock:
            return {span.kind for span in reversed(self._spans) if span.overlaps(begin, end)}

    def open(self) -> list[Span]:
        """What has not ended."""
        with self._lock:
            return [span for span in self._spans if span.end == FOREVER]

    def report(self, number: int, seen: float) -> None:
        """A revision was seen to be reported active; an older one than before counts for nothing."""
        with self._lock:
            if not self._reported or number > self._reported[-1][1]:
                self._reported.append((seen, number))

    def newest_reported(self, at: float) -> int:
        """The newest revision that had been reported active at a moment; -1 for none."""
        with self._lock:
            return next((number for seen, number in reversed(self._reported) if seen <= at), -1)
