"""The kinds of text that say when, each checked where it is written."""

import re
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, WithJsonSchema

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.suggest import did_you_mean, quoted

_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = re.compile(rf"({_TIME})-({_TIME}|24:00)", re.ASCII)
_ZONE_EXAMPLE = "write a name of the IANA database such as `Europe/Zurich`"


def _instant(text: str) -> str:
    example = 'for example "2026-03-02T10:00:00+01:00"'
    try:
        zone = datetime.fromisoformat(text).tzinfo
    except ValueError as error:
        raise InvalidValue(f"{quoted(text)} is no instant", hint=example) from error
    if zone is None:
        raise InvalidValue(f"the instant {quoted(text)} has no zone", hint=example)
    return text


def _hours(text: str) -> str:
    match = _HOURS.fullmatch(text)
    if match is None:
        raise InvalidValue(
            f"{quoted(text)} are no hours", hint='for example "08:00-18:00", or "22:00-06:00" over midnight'
        )
    if match[1] == match[2]:
        raise InvalidValue("the hours end when they begin", hint='the whole day is "00:00-24:00"')
    return text


def _zone(text: str) -> str:
    known = available_timezones()
    if text not in known:
        raise InvalidValue(f"there is no time zone {quoted(text)}", hint=did_you_mean(text, known, _ZONE_EXAMPLE))
    ZoneInfo(text)
    return text


Instant = Annotated[str, AfterValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
Hours = Annotated[
    str, AfterValidator(_hours), WithJsonSchema({"type": "string", "pattern": f"^{_TIME}-({_TIME}|24:00)$"})
]
Zone = Annotated[str, AfterValidator(_zone), WithJsonSchema({"type": "string", "minLength": 1})]


def seconds_of(instant: str) -> float:
    """The instant in seconds since the epoch."""
    return datetime.fromisoformat(instant).timestamp()


def minutes_of(hours: str) -> tuple[int, int]:
    """Begin and end in minutes since midnight; the end is before the begin where they cross midnight."""
    begin, end = [int(time[:2]) * 60 + int(time[3:]) for time in hours.split("-")]
    return begin, end
