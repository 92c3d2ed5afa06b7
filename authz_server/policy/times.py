"""When a rule exists: between two instants, and on a schedule by the wall clock of a zone."""

from datetime import datetime
from zoneinfo import ZoneInfo

from authz_server.policy.plan import ScheduleItem, TimesItem


class Times:
    """The times of one rule, ready for look-ups; nothing depends on the zone of this machine."""

    def __init__(self, item: TimesItem) -> None:
        self._begins, self._ends = item.begins, item.ends
        self._schedule = item.schedule
        self._zone = None if item.schedule is None else ZoneInfo(item.schedule.zone)

    def include(self, now: float) -> bool:
        """Whether the rule exists at this moment, in seconds since the epoch; an end is no longer included."""
        if self._begins is not None and now < self._begins:
            return False
        if self._ends is not None and now >= self._ends:
            return False
        if self._schedule is None:
            return True
        local = datetime.fromtimestamp(now, self._zone)
        return _on_schedule(self._schedule, local.weekday(), local.hour * 60 + local.minute)


def _on_schedule(schedule: ScheduleItem, day: int, minute: int) -> bool:
    if schedule.begin < schedule.end:
        return day in schedule.days and schedule.begin <= minute < schedule.end
    # Over midnight: hours belong to the day on which they begin.
    if minute >= schedule.begin:
        return day in schedule.days
    return minute < schedule.end and (day - 1) % 7 in schedule.days
