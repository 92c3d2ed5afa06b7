"""Callers who do not wait for each other: gRPC over several HTTP/2 connections, so many calls a second.

Frames are made beforehand, and of an answer is read what it means to Envoy and no more, so that this client can ask for
more than a server can answer. It does as Envoy does: it opens no more streams than the server allows, sends what the
windows let it send, and gives a call up when its time is over.
"""

import selectors
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

from benchmarks.caller import Answered, Caller, Question

CONNECTIONS = 8
_TICK_S = 0.001


class Outcome(Struct):
    """What became of calls."""

    seconds: float = 0.0
    made: int = 0
    decided: int = 0
    """By policy, and in time."""
    shed: int = 0
    """Denied because the server did not decide."""
    given_up: int = 0
    """There was no answer in time."""
    held_back: int = 0
    """Their time was over before they could be sent."""
    failed: int = 0
    """RPC errors."""
    wrong: int = 0
    """Allowed, although policy denies them."""
    late_s: float = 0.0
    """How late a call was made at most, because this client was busy."""
    last_bad_s: float = 0.0
    """When the last call that nobody decided was due, since the beginning."""
    latencies_s: list[float] = []
    """Of those that were decided, since they were due."""

    @property
    def decided_per_s(self) -> float:
        """Goodput."""
        return self.decided / self.seconds


class Crowd:
    """Connections to one server."""

    def __init__(self, address: str, questions: Sequence[Question]) -> None:
        """Connect. Raises CannotMeasure."""
        host, _, port = address.rpartition(":")
        self._questions = questions
        self._selector = selectors.EpollSelector()
        self._callers = [Caller(host, int(port), questions) for _ in range(CONNECTIONS)]
        for caller in self._callers:
            self._selector.register(caller, selectors.EVENT_READ, caller)

    def close(self) -> None:
        """Hang up."""
        self._selector.close()
        for caller in self._callers:
            caller.close()

    def keep_in_flight(self, calls: int, seconds: float) -> Outcome:
        """Make so many calls at once, each time that one is answered the next. Raises CannotMeasure."""
        outcome, begun = Outcome(), time.monotonic()
        while (now := time.monotonic()) - begun < seconds:
            open_calls = sum(caller.open for caller in self._callers)
            for _ in range(calls - open_calls):
                self._make(outcome, now)
            self._exchange(outcome, begun, _TICK_S)
        return self._finish(outcome, begun)

    def make_each_second(self, rate: float, seconds: float, each_tick: Callable[[], None] = lambda: None) -> Outcome:
        """Make so many calls a second, whatever becomes of them. Raises CannotMeasure."""
        outcome, begun = Outcome(), time.monotonic()
        while (now := time.monotonic()) - begun < seconds:
            outcome.late_s = max(outcome.late_s, now - begun - outcome.made / rate)
            for number in range(outcome.made, int((now - begun) * rate)):
                self._make(outcome, begun + number / rate)
            each_tick()
            self._exchange(outcome, begun, _TICK_S)
        return self._finish(outcome, begun)

    def _make(self, outcome: Outcome, due: float) -> None:
        number = outcome.made
        self._callers[number % CONNECTIONS].make(due, number // CONNECTIONS % len(self._questions))
        outcome.made += 1

    def _finish(self, outcome: Outcome, begun: float) -> Outcome:
        outcome.seconds = time.monotonic() - begun
        while any(caller.open for caller in self._callers):
            self._exchange(outcome, begun, _TICK_S)
        return outcome

    def _exchange(self, outcome: Outcome, begun: float, wait_s: float) -> None:
        now = time.monotonic()
        for caller in self._callers:
            for answered in caller.give_up(now):
                _note(outcome, answered, begun)
            caller.send()
        for key, _ in self._selector.select(wait_s):
            now = time.monotonic()
            for answered in key.data.read():
                _note(outcome, answered, begun, now)


@contextmanager
def crowd(address: str, questions: Sequence[Question]) -> Iterator[Crowd]:
    """Callers of this server, which take turns with these questions."""
    made = Crowd(address, questions)
    try:
        yield made
    finally:
        made.close()


def _note(outcome: Outcome, answered: Answered, begun: float, now: float = 0.0) -> None:
    what = answered.outcome
    if what == "decided":
        outcome.decided += 1
        outcome.latencies_s.append(now - answered.due)
        return
    setattr(outcome, what, getattr(outcome, what) + 1)
    outcome.last_bad_s = max(outcome.last_bad_s, answered.due - begun)
