"""The order of calls that wait for their turn, and which of them are denied instead."""

import math
from collections.abc import Callable

import pytest

from authz_server.envoy.service import MINIMUM_TIME_LEFT_S
from authz_server.errors import Reason
from authz_server.worker import waiting as module
from authz_server.worker.calls import Queued
from authz_server.worker.limits import FEW_CALLS, LATE_S, LONGEST_HOLD_S, LONGEST_WAIT_S, PRESSURE_AFTER_S
from authz_server.worker.waiting import CALLS, Waiting

SOON, LATE = LATE_S / 2, LATE_S * 2
PRESSED = LATE + PRESSURE_AFTER_S * 1.01
"""When calls have been late for so long that there is pressure."""


class Call:
    """A call that has come at some moment."""

    def __init__(self, name: int, came: float = 0.0, deadline: float = math.inf, size: int = 1) -> None:
        self.name, self.came, self.deadline, self.size = name, came, deadline, size
        self.given_up = False
        self.answers: list[bytes] = []
        self.forgotten = False

    def forget_request(self) -> None:
        """Keep no more than that it was called."""
        self.forgotten = True

    def reply(self, answer: bytes) -> None:
        """Keep it."""
        self.answers.append(answer)


class World:
    """A queue, and what it has said."""

    def __init__(self) -> None:
        self.denied: list[tuple[Reason, int]] = []
        self.given_up = 0
        self.stood_still = self._worked = 0.0
        """For how long the worker had no processor, and had one."""
        self.waiting: Waiting[Call] = Waiting(Queued("/a", self._deny, self._count), lambda: self._worked)

    def _deny(self, reason: Reason, calls: int) -> bytes:
        self.denied.append((reason, calls))
        return reason.encode()

    def _count(self) -> None:
        self.given_up += 1

    def add(self, *calls: Call) -> None:
        """They come."""
        for call in calls:
            self.waiting.add(call)

    def relieve(self, *moments: float) -> None:
        """See at these moments whether there is pressure."""
        for now in moments:
            self._worked = now - self.stood_still
            self.waiting.relieve(now)

    def decide(self, now: float) -> list[int]:
        """All whose turn comes, in their order."""
        self.relieve(now)
        found = []
        while (call := self.waiting.take(now)) is not None:
            found.append(call.name)
        self.waiting.deny_shed()
        return found


def test_without_pressure_who_comes_first_is_served_first() -> None:
    """As long as nobody waits long, whatever came with it."""
    world = World()
    world.add(Call(1), Call(2), Call(3))
    assert world.decide(SOON) == [1, 2, 3]
    assert (world.denied, world.given_up) == ([], 0)


def test_under_pressure_the_newest_come_first() -> None:
    """They are those that can still be answered in time."""
    world = World()
    world.add(Call(1), Call(2), Call(3, came=PRESSED))
    world.relieve(LATE)
    assert world.decide(PRESSED) == [3, 2, 1]
    world.add(Call(4, came=PRESSED), Call(5, came=PRESSED))
    assert world.decide(PRESSED + SOON) == [4, 5]


def test_to_be_late_for_a_moment_is_no_pressure() -> None:
    """What came while the machine stood still is decided in its order, however long that was."""
    world = World()
    pause = LONGEST_WAIT_S * 1.5
    world.add(Call(1), Call(2), Call(3))
    world.relieve(pause)
    assert world.waiting.take(pause) is not None
    world.add(Call(4, came=pause))
    assert world.decide(pause + PRESSURE_AFTER_S / 2) == [2, 3, 4]
    assert world.denied == []


@pytest.mark.parametrize(("calls", "is_pressure"), [(FEW_CALLS, False), (FEW_CALLS + 1, True)])
def test_to_stand_still_again_is_no_pressure_for_few(calls: int, is_pressure: bool) -> None:
    """They are late because others have the processor, and done in no time: nobody is denied for that."""
    world = World()
    pause = LONGEST_WAIT_S * 1.1
    world.add(*map(Call, range(calls)))
    for number in (1, 2):
        world.stood_still = number * pause
        world.relieve(world.stood_still + SOON)
    world.waiting.deny_shed()
    assert world.denied == ([(Reason.OVERLOADED, calls)] if is_pressure else [])
    assert len(world.waiting) == (0 if is_pressure else calls)


@pytest.mark.parametrize("decided", [True, False], ids=["none waits", "none is late"])
def test_two_moments_are_no_pressure_either(decided: bool) -> None:
    """Where nobody was late between them, how far apart they ever are."""
    world = World()
    world.add(Call(1))
    assert world.decide(LATE) == [1]
    again = 10.0
    if not decided:
        world.add(Call(2, came=again))
        assert world.decide(again) == [2]
    world.add(Call(3, came=again), Call(4, came=again))
    assert world.decide(again + LATE) == [3, 4]


def test_who_has_waited_too_long_is_denied() -> None:
    """With one answer and one record for all of them."""
    world = World()
    old = [Call(1), Call(2)]
    world.add(*old, Call(3, came=PRESSED))
    world.relieve(LATE)
    assert world.decide(LONGEST_WAIT_S * 1.01) == [3]
    assert world.denied == [(Reason.OVERLOADED, 2)]
    assert [call.answers for call in old] == [[b"overloaded"]] * 2


def test_beyond_the_most_calls_the_oldest_are_denied() -> None:
    """Whatever time has passed."""
    world = World()
    world.add(*map(Call, range(CALLS.entries + 3)))
    assert len(world.waiting) == CALLS.entries
    assert world.decide(0.0) == list(range(3, CALLS.entries + 3))
    assert world.denied == [(Reason.OVERLOADED, 3)]


def test_beyond_the_most_bytes_the_oldest_are_denied() -> None:
    """Until the others fit; what is decided gives its bytes back."""
    world = World()
    half = CALLS.bytes // 2
    for _ in range(3):
        oldest = Call(1, size=half)
        world.add(oldest, Call(2, size=half), Call(3))
        assert oldest.forgotten
        assert world.decide(0.0) == [2, 3]
    assert world.denied == [(Reason.OVERLOADED, 1)] * 3


def test_past_its_deadline_a_call_is_denied_first() -> None:
    """Whether it is the oldest or not: nobody would hear what is decided."""
    world = World()
    gone = PRESSED + MINIMUM_TIME_LEFT_S / 2
    world.add(Call(1, deadline=gone), Call(2), Call(3, deadline=gone), Call(4))
    world.relieve(LATE)
    assert world.decide(PRESSED) == [4, 2]
    assert world.denied == [(Reason.DEADLINE, 2)]


def test_without_pressure_late_calls_are_denied_before_their_deadline() -> None:
    """However many come at once, and however short their callers wait: what came too late would be an RPC error."""
    world = World()
    timeout, check = LATE_S * 3, 0.0002
    calls = [Call(number, deadline=timeout) for number in range(400)]
    world.add(*calls)
    now, decided = 0.0, 0
    while len(world.waiting):
        world.relieve(now)
        until = now + LONGEST_HOLD_S
        while now < until and world.waiting.take(now) is not None:
            now += check
            decided += 1
            assert now < timeout
        world.waiting.deny_shed()
    assert {reason for reason, _ in world.denied} == {Reason.DEADLINE}
    assert decided + sum(number for _, number in world.denied) == len(calls)


def test_without_pressure_a_call_past_its_deadline_is_handed_on() -> None:
    """The check denies it, with a record of its own that says what was asked."""
    world = World()
    world.add(Call(1, deadline=SOON))
    assert world.decide(SOON) == [1]
    assert world.denied == []


@pytest.mark.parametrize("end", [lambda world: world.decide(SOON), lambda world: world.decide(1.0)])
def test_who_has_given_up_is_neither_decided_nor_denied(end: Callable[[World], list[int]]) -> None:
    """It is counted."""
    world = World()
    call = Call(1)
    world.add(call)
    call.given_up = True
    assert end(world) == []
    assert (world.given_up, world.denied, call.answers) == (1, [], [])


def test_a_record_speaks_of_a_bounded_number_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of those to be denied is bounded as well."""
    monkeypatch.setattr(module, "CALLS", CALLS._replace(entries=0))
    world = World()
    calls = [Call(number) for number in range(600)]
    world.add(*calls)
    assert world.denied == [(Reason.OVERLOADED, 256)] * 2
    world.waiting.deny_shed()
    assert world.denied[2:] == [(Reason.OVERLOADED, 88)]
    assert all(call.answers == [b"overloaded"] for call in calls)
