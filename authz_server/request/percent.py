"""Percent-encoding (RFC 3986 section 2.1), decoded once."""

import re

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)


class InvalidEscape(ValueError):
    """A text with an escape that is broken or stands for no text."""


def percent_decoded(text: str) -> str:
    """The text with its escapes decoded; `+` stays `+`. Raises InvalidEscape."""
    if "%" not in text:
        return text
    if _BROKEN_ESCAPE.search(text):
        raise InvalidEscape("a broken escape")
    # By way of Python's own escapes, because a loop over a long text of nothing but `%41` takes too long.
    escaped = text.encode().replace(b"\\", b"%5C").replace(b"%", b"\\x")
    try:
        return escaped.decode("unicode_escape").encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise InvalidEscape("an escape of bytes that are not UTF-8") from error
