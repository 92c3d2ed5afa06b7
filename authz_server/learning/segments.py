"""What a segment of a path looks like by itself: a name, or some kind of id."""

import re
from enum import Enum

from authz_server.policy.patterns import MAX_INT_DIGITS

_VERSION = re.compile(r"v\d+(?:[._-]?\w+)*", re.IGNORECASE | re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}(?:-\d{2})?(?:T[\d:.]+(?:Z|[+-]\d{2}:?\d{2})?)?", re.ASCII)
_HEXADECIMAL = re.compile(r"(?=.*\d)[0-9a-f]{16,}", re.IGNORECASE | re.ASCII)
# Base64url and the like: long, and with all of digits, small and capital letters.
_RANDOM = re.compile(r"(?=.*\d)(?=.*[a-z])(?=.*[A-Z])[\w-]{20,}=*", re.ASCII)
_DIGIT = re.compile(r"\d", re.ASCII)


class Shape(Enum):
    """The value is how many different ones at one place show that they vary."""

    WORD = 0
    """It takes many, and more than a number shows it: see `templates`."""
    UUID = (1, "uuid")
    HASH = (1, "hash")
    NUMBER = (2, "number")
    DATE = (2, "date")
    CODE = (3, "code")
    """A name with digits in it, such as `c7-1`."""

    @property
    def evidence(self) -> int:
        """How many different ones show that they vary."""
        return self.value if isinstance(self.value, int) else self.value[0]


def shape_of(segment: str) -> Shape:
    """What a decoded segment looks like."""
    if _UUID.fullmatch(segment):
        return Shape.UUID
    if segment.isascii() and segment.isdecimal():
        return Shape.NUMBER if len(segment) <= MAX_INT_DIGITS else Shape.HASH
    if _DATE.fullmatch(segment):
        return Shape.DATE
    if _HEXADECIMAL.fullmatch(segment) or _RANDOM.fullmatch(segment):
        return Shape.HASH
    if _VERSION.fullmatch(segment) or not _DIGIT.search(segment):
        return Shape.WORD
    return Shape.CODE
