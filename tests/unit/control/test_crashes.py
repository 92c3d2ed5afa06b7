"""Ends of a worker within a minute."""

from authz_server.control.crashes import Crashes


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now


def test_the_first_successor_comes_at_once_and_further_ones_later_and_later() -> None:
    """Each waits twice as long as the one before, up to a bound."""
    crashes, pauses = Crashes(0.1, 10.0, Clock()), []
    assert crashes.pause_s == 0
    for _ in range(12):
        crashes.add("SIGSEGV ended it")
        pauses.append(crashes.pause_s)
    assert pauses == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10, 10]


def test_from_the_third_end_within_a_minute_on_it_is_told() -> None:
    """With how often, and what ended it last."""
    crashes = Crashes(0.1, 10.0, Clock())
    crashes.add("SIGSEGV ended it")
    crashes.add("SIGSEGV ended it")
    assert crashes.problem is None
    crashes.add("SIGKILL ended it")
    assert crashes.problem == "has ended 3 times in the last minute, last: SIGKILL ended it"


def test_ends_are_forgotten_after_a_minute() -> None:
    """What happened long ago holds up nobody."""
    clock = Clock()
    crashes = Crashes(0.1, 10.0, clock)
    for _ in range(3):
        crashes.add("SIGSEGV ended it")
    clock.now += 60
    assert (crashes.problem, crashes.pause_s) == (None, 0)
