"""Quantities in settings: durations and sizes, written with their units."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from authz_server.documents.invalid import InvalidValue

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,12}) ?(B|KB|MB|GB|KiB|MiB|GiB)")


def parse_duration(text: object) -> float:
    """Seconds of `250ms`, `30s`, `5m`, `1h` or `7d`. Raises InvalidValue."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidValue("a duration is a whole number with its unit: ms, s, m, h or d", hint="for example 30s")
    return int(match[1]) * _SECONDS[match[2]]


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as this."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds else "0s"


def parse_size(text: object) -> int:
    """Bytes of `512KB`, `100MB` (thousands) or `16MiB` (1024s). Raises InvalidValue."""
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        message = "a size is a whole number with its unit: B, KB, MB, GB, KiB, MiB or GiB"
        raise InvalidValue(message, hint="for example 100MB")
    return int(match[1]) * _BYTES[match[2]]


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads as this."""
    for unit in ("GB", "GiB", "MB", "MiB", "KB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def duration_from(lowest: str, highest: str) -> AfterValidator:
    """Refuse durations that are shorter or longer."""
    low, high = parse_duration(lowest), parse_duration(highest)

    def check(seconds: float) -> float:
        if not low <= seconds <= high:
            raise InvalidValue(f"this is a duration from {lowest} to {highest}")
        return seconds

    return AfterValidator(check)


def size_from(lowest: str, highest: str) -> AfterValidator:
    """Refuse sizes that are smaller or larger."""
    low, high = parse_size(lowest), parse_size(highest)

    def check(size: int) -> int:
        if not low <= size <= high:
            raise InvalidValue(f"this is a size from {lowest} to {highest}")
        return size

    return AfterValidator(check)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["30s"]}),
]
"""Seconds; written with a unit."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size),
    WithJsonSchema({"type": "string", "pattern": f"^{_SIZE.pattern}$", "examples": ["100MB"]}),
]
"""Bytes; written with a unit."""
