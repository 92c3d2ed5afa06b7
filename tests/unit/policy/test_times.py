"""When rules exist."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.errors import Reason
from authz_server.pipeline import check
from authz_server.policy.plan import ScheduleItem, TimesItem
from authz_server.policy.times import Times
from tests.builders import plan_of, request, snapshot_of

ZURICH = "Europe/Zurich"
WORKDAYS = (0, 1, 2, 3, 4)


def at(text: str, zone: str = ZURICH) -> float:
    """Seconds since the epoch of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("days", "hours", "local", "expected"),
    [
        (WORKDAYS, (480, 1080), "2026-03-02T08:00", True),
        (WORKDAYS, (480, 1080), "2026-03-02T07:59:59", False),
        (WORKDAYS, (480, 1080), "2026-03-02T17:59:59", True),
        (WORKDAYS, (480, 1080), "2026-03-02T18:00", False),
        (WORKDAYS, (480, 1080), "2026-03-01T12:00", False),
        (WORKDAYS, (0, 1440), "2026-03-06T23:59:59", True),
        (WORKDAYS, (0, 1440), "2026-03-07T00:00", False),
        ((4,), (1320, 360), "2026-03-06T22:00", True),
        ((4,), (1320, 360), "2026-03-07T05:59", True),
        ((4,), (1320, 360), "2026-03-07T06:00", False),
        ((4,), (1320, 360), "2026-03-06T05:00", False),
        ((4,), (1320, 360), "2026-03-07T22:00", False),
        ((6,), (1320, 360), "2026-03-02T01:00", True),
        ((6,), (120, 180), "2026-03-29T03:00", False),
        ((6,), (120, 180), "2026-10-25T02:30", True),
    ],
)
def test_a_schedule_goes_by_the_wall_clock_of_its_zone(
    days: tuple[int, ...], hours: tuple[int, int], local: str, expected: bool
) -> None:  # fmt: skip
    """Ends are not included; hours over midnight belong to the day on which they begin; summer time is followed."""
    times = Times(TimesItem(schedule=ScheduleItem(days, *hours, ZURICH)))
    assert times.include(at(local)) is expected


def test_time_01_the_zone_of_the_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """TIME-01: what a rule's zone says is the same wherever the server runs."""
    times = Times(TimesItem(schedule=ScheduleItem(WORKDAYS, 480, 1080, ZURICH)))
    for zone in ("UTC", "Pacific/Auckland", "America/Los_Angeles"):
        monkeypatch.setenv("TZ", zone)
        assert times.include(at("2026-03-02T08:00"))
        assert not times.include(at("2026-03-02T18:00"))


@given(
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)),
    st.sampled_from([ZURICH, "UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"]),
)
def test_a_schedule_is_what_walking_through_its_minutes_gives(
    days: set[int], begin: int, end: int, moment: datetime, zone: str
) -> None:  # fmt: skip
    """Each minute of the hours, from each day on which they begin, and no other."""
    if begin == end:
        return
    now = moment.replace(tzinfo=UTC)
    local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None, second=0, microsecond=0)
    length = (end - begin) % 1440 or 1440
    expected = False
    for back in (0, 1):
        start = (local - timedelta(days=back)).replace(hour=0, minute=0)
        first = start + timedelta(minutes=begin)
        if start.weekday() in days and first <= local < first + timedelta(minutes=length):
            expected = True
    times = Times(TimesItem(schedule=ScheduleItem(tuple(sorted(days)), begin, end, zone)))
    assert times.include(now.timestamp()) is expected


POLICY = """\
    kind: service
    name: s
    hosts: ["*"]
    rules:
      - id: sale
        effect: allow
        from: anyone
        to: [{paths: [/sale]}]
        valid: {from: "2026-03-02T10:00:00+01:00", until: "2026-03-03T10:00:00+01:00"}
      - id: staff
        effect: allow
        from: [{users: any}]
        to: [{paths: [/staff]}]
        schedule: {hours: "08:00-18:00", zone: Europe/Zurich}
      - {id: all, effect: allow, from: anyone, to: [{paths: [/all]}]}
      - id: closed
        effect: deny
        to: [{paths: [/all]}]
        schedule: {days: [sun], zone: Europe/Zurich}
"""


@pytest.mark.parametrize(
    ("path", "local", "reason"),
    [
        ("/sale", "2026-03-02T09:59:59", Reason.NO_RULE_ALLOWS),
        ("/sale", "2026-03-02T10:00", Reason.ALLOWED),
        ("/sale", "2026-03-03T09:59:59", Reason.ALLOWED),
        ("/sale", "2026-03-03T10:00", Reason.NO_RULE_ALLOWS),
        ("/staff", "2026-03-02T12:00", Reason.UNAUTHENTICATED),
        ("/staff", "2026-03-02T20:00", Reason.NO_RULE_ALLOWS),
        ("/all", "2026-03-02T12:00", Reason.ALLOWED),
        ("/all", "2026-03-01T12:00", Reason.DENIED_BY_RULE),
    ],
)
def test_a_rule_does_not_exist_at_other_times(tmp_path: Path, path: str, local: str, reason: Reason) -> None:
    """Neither does an allow rule allow, nor a deny rule deny, nor is a token of any use."""
    decision = check(request("GET", path), snapshot_of(plan_of(tmp_path, s=POLICY)), at(local))
    assert decision.reason is reason
