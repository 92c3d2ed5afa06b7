"""Calls that wait for their turn in a worker: first come, first served; under pressure the newest first.

Whoever has waited longest gives up soonest: under pressure the newest are those that can still be answered in time.
Those that nobody will decide in time are denied at once, many of them by one answer and one record. Pressure is what
lasts: to be late for a moment, as after a pause of the machine, is made up for in the order of arrival.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from authz_server.bounds import MIB, Bound
from authz_server.envoy.service import MINIMUM_TIME_LEFT_S
from authz_server.errors import Reason
from authz_server.worker.calls import Queued
from authz_server.worker.limits import FEW_CALLS, LATE_S, LONGEST_WAIT_S, PRESSURE_AFTER_S

CALLS = Bound(
    "calls that wait",
    "worker",
    entries=1_000,
    bytes=64 * MIB,
    holds="Requests whose turn has not come: what a worker decides in less than a tenth of a second.",
    full="The one that has waited longest is denied: `overloaded`.",
    kept_in=("Waiting._calls",),
)

_MOST_AT_ONCE = 256
"""Calls that one record speaks of."""


class WaitingCall(Protocol):
    """One call whose turn will come."""

    came: float
    deadline: float
    """Both in seconds of the monotonic clock; infinite where the caller waits for ever."""

    @property
    def size(self) -> int:
        """Bytes that are kept of it."""
        ...

    @property
    def given_up(self) -> bool:
        """Nobody waits for its answer any more."""
        ...

    def forget_request(self) -> None:
        """Nobody will read it."""
        ...

    def reply(self, answer: bytes) -> None:
        """Answer it, in the thread that decides. Never raises."""
        ...


_Call = TypeVar("_Call", bound=WaitingCall)


class Waiting(Generic[_Call]):
    """The calls of one worker that wait; for the thread that decides."""

    def __init__(self, method: Queued, worked: Callable[[], float] = time.thread_time) -> None:
        """`worked` says for how many seconds this thread has had a processor."""
        self._method = method
        self._worked = worked
        self._calls: deque[_Call] = deque()
        self._bytes = 0
        self._pressure = method.pressure
        self._late_since: tuple[float, float] | None = None
        """Moment, and what had been worked by then."""
        self._shed: dict[Reason, list[_Call]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: _Call) -> None:
        """A call has come. Beyond the bounds the oldest are denied."""
        self._calls.append(call)
        self._bytes += call.size
        while len(self._calls) > CALLS.entries or self._bytes > CALLS.bytes:
            self._shed_oldest(Reason.OVERLOADED)

    def relieve(self, now: float) -> None:
        """See whether there is pressure, and deny the calls that have waited too long; now and then.

        Late ones whose caller's deadline is near are denied while he still hears it, with pressure or without.
        """
        if self._late(now):
            self._pressure.on = self._lateness(now) >= PRESSURE_AFTER_S
            if self._deny_oldest(now):
                return
        self._calm_down()

    def take(self, now: float) -> _Call | None:
        """The call whose turn it is; None where no more wait."""
        calls = self._calls
        while calls:
            pressed = self._pressure.on
            call = calls.pop() if pressed else calls.popleft()
            self._bytes -= call.size
            if not calls:
                self._calm_down()
            if call.given_up:
                self._method.given_up()
            elif pressed and call.deadline - now < MINIMUM_TIME_LEFT_S:
                self._deny_soon(call, Reason.DEADLINE)
            else:
                return call
        return None

    def deny_all(self) -> None:
        """Nobody gets a turn any more: all are denied."""
        while self._calls:
            self._shed_oldest(Reason.OVERLOADED)
        self.deny_shed()

    def deny_shed(self) -> None:
        """Answer those that are to be denied, if any; to be called before other answers are sent."""
        for reason, calls in self._shed.items():
            self._deny(reason, calls)
        self._shed.clear()

    def _calm_down(self) -> None:
        self._late_since = None
        self._pressure.on = False

    def _lateness(self, now: float) -> float:
        """How long calls have been late without an end, seconds."""
        worked = self._worked()
        if self._late_since is None:
            self._late_since = (now, worked)
        since, worked_before = self._late_since
        # Few are late for long only where others have the processor: with it they are done in no time.
        return worked - worked_before if len(self._calls) <= FEW_CALLS else now - since

    def _late(self, now: float) -> bool:
        return bool(self._calls) and now - self._calls[0].came > LATE_S

    def _deny_oldest(self, now: float) -> bool:
        """Deny those that are too late; returns whether others are late."""
        while self._late(now):
            oldest = self._calls[0]
            if oldest.deadline - now < MINIMUM_TIME_LEFT_S:
                self._shed_oldest(Reason.DEADLINE)
            elif self._pressure.on and now - oldest.came > LONGEST_WAIT_S:
                self._shed_oldest(Reason.OVERLOADED)
            else:
                return True
        return False

    def _shed_oldest(self, reason: Reason) -> None:
        call = self._calls.popleft()
        self._bytes -= call.size
        self._deny_soon(call, reason)

    def _deny_soon(self, call: _Call, reason: Reason) -> None:
        call.forget_request()
        calls = self._shed.setdefault(reason, [])
        calls.append(call)
        if len(calls) >= _MOST_AT_ONCE:
            self._deny(reason, calls)
            calls.clear()

    def _deny(self, reason: Reason, calls: list[_Call]) -> None:
        waiting = [call for call in calls if not call.given_up]
        for _ in range(len(calls) - len(waiting)):
            self._method.given_up()
        if waiting:
            answer = self._method.deny(reason, len(waiting))
            for call in waiting:
                call.reply(answer)
