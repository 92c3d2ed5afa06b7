"""When keys are fetched, and how long they are believed."""

from authz_server.control.fetch_schedule import COOLDOWN_S, LONGEST_RETRY_S, FetchSchedule


def fetched(at: float = 0.0) -> FetchSchedule:
    """A schedule of ten minutes and an hour, with keys."""
    schedule = FetchSchedule(refresh_s=600.0, max_age_s=3600.0)
    schedule.begin(at)
    schedule.succeed(at, 0.0)
    return schedule


def test_keys_are_fetched_at_once_and_then_again_and_again() -> None:
    """The first fetch is due at the start, the next after the refresh interval."""
    assert FetchSchedule(refresh_s=600.0, max_age_s=3600.0).next_event() == 0.0
    assert fetched().next_event() == 600.0


def test_jitter_makes_a_fetch_earlier_and_never_later() -> None:
    """By a tenth at most."""
    schedule = fetched()
    schedule.succeed(0.0, 1.0)
    assert schedule.due == 540.0


def test_failures_are_retried_less_and_less_often() -> None:
    """Soon at first, for an issuer that is just starting."""
    schedule, pauses, now = fetched(), [], 600.0
    for _ in range(7):
        schedule.fail(now)
        pauses.append(schedule.due - now)
        now = schedule.due
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_RETRY_S, LONGEST_RETRY_S]


def test_a_success_forgets_the_failures() -> None:
    """The next failure is retried soon again."""
    schedule = fetched()
    for _ in range(5):
        schedule.fail(600.0)
    schedule.succeed(700.0, 0.0)
    schedule.fail(1300.0)
    assert schedule.due == 1301.0


def test_keys_are_believed_until_their_age_and_not_longer() -> None:
    """They expire once, at the end of the age and without a fetch."""
    schedule = fetched()
    schedule.due = 99999.0
    assert schedule.next_event() == 3600.0
    assert not schedule.expire(3599.9)
    assert schedule.expire(3600.0)
    assert not schedule.expire(3601.0)


def test_an_unknown_key_causes_one_fetch_in_a_cooldown() -> None:
    """KEY-04: however many ask."""
    schedule = fetched(at=100.0)
    for now in (101.0, 102.0, 110.0):
        schedule.ask(now)
    assert schedule.due == 100.0 + COOLDOWN_S


def test_an_unknown_key_after_the_cooldown_causes_a_fetch_at_once() -> None:
    """Keys that were rotated are wanted now."""
    schedule = fetched()
    schedule.ask(45.0)
    assert schedule.due == 45.0


def test_asking_never_puts_a_fetch_off() -> None:
    """One that is due earlier stays due."""
    schedule = fetched(at=595.0)
    schedule.due = 600.0
    schedule.ask(599.0)
    assert schedule.due == 600.0
