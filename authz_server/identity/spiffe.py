"""SPIFFE IDs and patterns of them (SPIFFE-ID standard, section 2)."""

import re

from msgspec import Struct

from authz_server.model import SpiffeId

MAX_ID_BYTES = 2048
MAX_TRUST_DOMAIN_BYTES = 255
SCHEME = "spiffe://"

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_ID = re.compile(rf"{SCHEME}({_TRUST_DOMAIN.pattern})((?:/{_SEGMENT.pattern})*)", re.ASCII)


class InvalidSpiffeId(ValueError):
    """A text that is not a SPIFFE ID; the message says why and does not repeat the text."""


class InvalidSpiffePattern(ValueError):
    """A text that is not a pattern of SPIFFE IDs. `offset` counts characters from 0, `hint` says what to write."""

    def __init__(self, message: str, offset: int, hint: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


class SpiffePattern(Struct, frozen=True):
    """Which SPIFFE IDs fit. Whole segments are compared, so nothing ever fits by a part of its text."""

    text: str
    trust_domain: str
    segments: tuple[str, ...]
    """Literal, or `*` for any one segment."""
    rest: bool
    """One or more further segments must follow."""

    def matches(self, identity: SpiffeId) -> bool:
        """Whether the ID fits."""
        if identity.trust_domain != self.trust_domain:
            return False
        expected = len(self.segments)
        if len(identity.segments) <= expected if self.rest else len(identity.segments) != expected:
            return False
        # The lengths may differ: what `rest` stands for is compared with nothing.
        pairs = zip(self.segments, identity.segments, strict=False)
        return all(pattern in ("*", segment) for pattern, segment in pairs)


def parse_spiffe_id(text: str) -> SpiffeId:
    """Read a SPIFFE ID; one of a trust domain itself has no segments. Raises InvalidSpiffeId."""
    # Characters are bytes here: whatever is not ASCII fails to match.
    if len(text) > MAX_ID_BYTES:
        raise InvalidSpiffeId(f"the SPIFFE ID is longer than {MAX_ID_BYTES} bytes")
    match = _ID.fullmatch(text)
    if match is None:
        raise InvalidSpiffeId(_fault(text))
    trust_domain, path = match.groups()
    if len(trust_domain) > MAX_TRUST_DOMAIN_BYTES:
        raise InvalidSpiffeId(f"the trust domain is longer than {MAX_TRUST_DOMAIN_BYTES} bytes")
    segments = tuple(path.split("/")[1:])
    if "." in segments or ".." in segments:
        raise InvalidSpiffeId("the SPIFFE ID has a segment `.` or `..`")
    return SpiffeId(text, trust_domain, segments)


def _fault(text: str) -> str:
    if not text.startswith(SCHEME):
        return f"the SPIFFE ID does not begin with `{SCHEME}`"
    trust_domain, _, path = text.removeprefix(SCHEME).partition("/")
    if not _TRUST_DOMAIN.fullmatch(trust_domain):
        return "the trust domain of the SPIFFE ID is empty or has characters other than `a-z 0-9 . _ -`"
    if path.endswith("/") or not path:
        return "the SPIFFE ID ends with a slash"
    return "the path of the SPIFFE ID has an empty segment or characters other than `A-Z a-z 0-9 . _ -`"


def parse_spiffe_pattern(text: str) -> SpiffePattern:
    """Read a pattern: an ID in which `*` stands for one segment and a last `/**` for one or more.

    Raises InvalidSpiffePattern.
    """
    if not text.startswith(SCHEME):
        raise InvalidSpiffePattern(
            "a SPIFFE pattern begins with `spiffe://`", 0, "write `spiffe://<trust domain>/<path>`"
        )
    if len(text) > MAX_ID_BYTES:
        raise InvalidSpiffePattern(f"the pattern is longer than {MAX_ID_BYTES} bytes", 0, "no SPIFFE ID is that long")
    trust_domain, *segments = text.removeprefix(SCHEME).split("/")
    offset = len(SCHEME)
    _check_trust_domain(trust_domain, offset)
    if not segments:
        raise InvalidSpiffePattern(
            "the pattern has no path, and no workload has the ID of a whole trust domain",
            len(text),
            f"write `{text}/**` for every workload of the trust domain",
        )
    offset += len(trust_domain) + 1
    for position, segment in enumerate(segments, 1):
        _check_segment(segment, offset, is_last=position == len(segments))
        offset += len(segment) + 1
    rest = segments[-1] == "**"
    return SpiffePattern(text, trust_domain, tuple(segments[:-1] if rest else segments), rest)


def _check_trust_domain(text: str, offset: int) -> None:
    if "*" in text:
        raise InvalidSpiffePattern(
            "a trust domain stands literally, without `*`",
            offset + text.index("*"),
            "list one pattern for each trust domain",
        )
    if not _TRUST_DOMAIN.fullmatch(text) or len(text) > MAX_TRUST_DOMAIN_BYTES:
        raise InvalidSpiffePattern(
            "not a trust domain",
            offset + _first_bad(_TRUST_DOMAIN, text),
            "lower-case letters, digits, `.`, `_` and `-`, at most 255 of them; no port and no user",
        )


def _check_segment(text: str, offset: int, *, is_last: bool) -> None:
    if text == "*" or (text == "**" and is_last):
        return
    if text == "**":
        raise InvalidSpiffePattern(
            "`**` can only be the last segment", offset, "write `*` for exactly one segment here"
        )
    if "*" in text:
        raise InvalidSpiffePattern(
            "`*` stands for a whole segment, not for a part of one",
            offset + text.index("*"),
            "write `*` alone between the slashes, or list the segments that fit",
        )
    if not text:
        hint = "leave out the last slash; write `/**` for everything below" if is_last else "leave out one slash"
        raise InvalidSpiffePattern("an empty segment", offset, hint)
    if text in (".", ".."):
        raise InvalidSpiffePattern(f"a segment cannot be `{text}`", offset, "write the path without it")
    if not _SEGMENT.fullmatch(text):
        raise InvalidSpiffePattern(
            "a character that no SPIFFE ID has",
            offset + _first_bad(_SEGMENT, text),
            "letters, digits, `.`, `_` and `-`; nothing is percent-encoded",
        )


def _first_bad(allowed: re.Pattern[str], text: str) -> int:
    """Where the first character stands that the pattern does not admit."""
    match = allowed.match(text)
    return 0 if match is None else match.end()
