"""Compiles when rules exist."""

from typing import get_args

from authz_server.documents.tree import Document, FieldPath
from authz_server.policy.compiler.names import Report
from authz_server.policy.moments import minutes_of, seconds_of
from authz_server.policy.plan import ScheduleItem, TimesItem
from authz_server.policy.schema import Day, Schedule, Valid

DAYS = get_args(Day)


def compile_times(
    document: Document, path: FieldPath, schedule: Schedule | None, valid: Valid | None, report: Report
) -> TimesItem | None:
    """The times of the rule at the path; None where it exists always."""
    if schedule is None and valid is None:
        return None
    begins = None if valid is None or valid.begins is None else seconds_of(valid.begins)
    ends = None if valid is None or valid.ends is None else seconds_of(valid.ends)
    place = (*path, "valid")
    if valid is not None and begins is None and ends is None:
        report(
            document.problem(
                place, "empty_item", "`valid` without an instant limits nothing", "it has `from` and `until`"
            )
        )
    if begins is not None and ends is not None and ends <= begins:
        message = "the rule ends before it begins, so it never exists"
        report(document.problem((*place, "until"), "contradiction", message, "write a later instant"))
    return TimesItem(begins, ends, None if schedule is None else _schedule(schedule))


def _schedule(schedule: Schedule) -> ScheduleItem:
    begin, end = minutes_of(schedule.hours)
    days = tuple([number for number, day in enumerate(DAYS) if day in (schedule.days or DAYS)])
    return ScheduleItem(days, begin, end, schedule.zone)
