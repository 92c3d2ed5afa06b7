"""Path templates and host patterns: what rules say about paths and hosts, taken apart.

Nothing here is a regular expression, and nothing fits by a part of a segment but what a capture's literal prefix and
suffix leave of it.
"""

import re
from typing import Literal as OneOf

from msgspec import Struct

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.suggest import did_you_mean, quoted
from authz_server.errors import Refused
from authz_server.model import Path
from authz_server.policy.lookalikes import lookalike
from authz_server.request.host import canonical_host

CaptureKind = OneOf["text", "int", "uuid"]

MAX_INT_DIGITS = 18

_KINDS: dict[str, CaptureKind] = {"int": "int", "uuid": "uuid"}

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CEL_KEYWORDS = frozenset(("in", "true", "false", "null"))
_BRACES = (
    ("{", "the `{` is never closed in this segment", "write `}` behind the name, such as `{order_id}`"),
    ("}", "the `}` closes nothing in this segment", "write `{` before the name, such as `{order_id}`"),
)
# What a segment of a canonical path never holds, decoded as it is.
_NEVER_IN_A_SEGMENT = re.compile(r"[\x00-\x1f\x7f-\x9f\\%;?#]")


class PatternError(InvalidValue):
    """A pattern that says nothing, or something that nothing can fit. `offset` and `length` count characters."""


class Literal(Struct, frozen=True):
    """A segment that must be there as it is, percent-decoded."""

    text: str


class Capture(Struct, frozen=True):
    """A segment of which a part is captured: all but the literal prefix and suffix, never empty."""

    name: str
    kind: CaptureKind = "text"
    prefix: str = ""
    suffix: str = ""

    def accepts(self, segment: str) -> str | None:
        """What the capture takes of a segment; None where the segment does not fit."""
        begin, end = len(self.prefix), len(segment) - len(self.suffix)
        if begin >= end or not segment.startswith(self.prefix) or not segment.endswith(self.suffix):
            return None
        value = segment[begin:end]
        if self.kind == "int":
            return value if len(value) <= MAX_INT_DIGITS and value.isascii() and value.isdecimal() else None
        if self.kind == "uuid":
            return value if _UUID.fullmatch(value) else None
        return value


class Rest(Struct, frozen=True):
    """The end of a template that stands for one or more further segments, and perhaps a final slash."""

    name: str | None
    """What captures them, joined by `/` and without the final slash."""


class PathTemplate(Struct, frozen=True):
    """Which canonical paths fit: `segments` one by one, then `rest`, or the final slash as written."""

    text: str
    segments: tuple[Literal | Capture, ...]
    rest: Rest | None
    trailing_slash: bool
    captures: frozenset[str]

    def match(self, path: Path) -> dict[str, str] | None:
        """What the template captures of a path; None where the path does not fit."""
        further = len(path.segments) - len(self.segments)
        if further < 1 if self.rest else further != 0 or path.trailing_slash != self.trailing_slash:
            return None
        captures: dict[str, str] = {}
        for pattern, segment in zip(self.segments, path.segments, strict=False):
            if isinstance(pattern, Literal):
                if pattern.text != segment:
                    return None
            elif (value := pattern.accepts(segment)) is None:
                return None
            else:
                captures[pattern.name] = value
        if self.rest and self.rest.name:
            captures[self.rest.name] = "/".join(path.segments[len(self.segments) :])
        return captures


class HostPattern(Struct, frozen=True):
    """Which hosts fit: `name` is a host, `*.` and a host for one or more labels in front of it, or `*` for all."""

    name: str
    port: int | None
    """None is any port, and none."""

    def matches(self, host: str, port: int | None) -> bool:
        """Whether a canonical host fits."""
        if self.port is not None and self.port != port:
            return False
        return _covers(self.name, host)

    def meets(self, name: str) -> bool:
        """Whether there are hosts that fit both, whatever the port; `name` is written as in patterns."""
        return _covers(self.name, name) or _covers(name, self.name)


def _covers(name: str, host: str) -> bool:
    return name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:]))


def parse_path_template(text: str) -> PathTemplate:
    """Read a path template; literal segments are written percent-decoded. Raises PatternError."""
    if found := lookalike(text):
        raise PatternError(found.message, offset=found.offset, length=found.length, hint=found.hint)
    if not text.startswith("/"):
        raise PatternError("a path begins with `/`", hint=_beginning_with_a_slash(text))
    *parts, last = text[1:].split("/")
    segments: list[Literal | Capture] = []
    captures: list[str] = []
    offset = 1
    for part in parts:
        segments.append(_segment(part, offset, captures))
        offset += len(part) + 1
    rest = _rest(last, offset, captures)
    if last and rest is None:
        segments.append(_segment(last, offset, captures))
    return PathTemplate(text, tuple(segments), rest, not last, frozenset(captures))


def _beginning_with_a_slash(text: str) -> str:
    if text in ("*", "**"):
        return "write `/**`, or leave `paths` out for every path"
    if "://" in text:
        return "write the path alone; hosts stand in `hosts`"
    return f"write `/{text}`" if len(text) < 40 else ""


def _rest(text: str, offset: int, captures: list[str]) -> Rest | None:
    if text == "**":
        return Rest(None)
    if text.startswith("{") and text.endswith("...}"):
        return Rest(_capture_name(text[1:-4], offset + 1, captures))
    return None


def _segment(text: str, offset: int, captures: list[str]) -> Literal | Capture:
    if not text:
        raise PatternError("no path has an empty segment", offset=offset - 1, length=2, hint="write one `/`")
    if text == "**" or (text.startswith("{") and text.endswith("...}")):
        hint = "it admits a final slash anyway; for one segment in between write `{name}`"
        raise PatternError(f"{quoted(text)} can only be the end of a path", offset=offset, length=len(text), hint=hint)
    begin = text.find("{")
    end = text.find("}", begin)
    if begin < 0 or end < 0:
        if text in (".", ".."):
            message = f"no canonical path has a segment `{text}`"
            raise PatternError(message, offset=offset, length=len(text), hint="write the path without it")
        return Literal(_literal(text, offset))
    prefix = _literal(text[:begin], offset)
    if "{" in text[end + 1 :]:
        hint = "a segment has one capture, such as `{name}`, with text before or after it"
        place = text.index("{", end)
        raise PatternError("a second `{` is not expected here", offset=offset + place, length=1, hint=hint)
    suffix = _literal(text[end + 1 :], offset + end + 1)
    name, colon, kind = text[begin + 1 : end].partition(":")
    name = _capture_name(name, offset + begin + 1, captures)
    known = _KINDS.get(kind) if colon else "text"
    if known:
        return Capture(name, known, prefix, suffix)
    hint = did_you_mean(kind, _KINDS, "write `int`, `uuid`, or the name alone for any segment")
    place = offset + begin + 1 + len(name) + 1
    raise PatternError(f"no capture is of type {quoted(kind)}", offset=place, length=len(kind), hint=hint)


def _capture_name(name: str, offset: int, captures: list[str]) -> str:
    if not _NAME.fullmatch(name) or name in _CEL_KEYWORDS:
        hint = "letters, digits and `_`, such as `{order_id}`; it is `path.order_id` in conditions"
        message = f"{quoted(name)} cannot name a capture" if name else "the capture has no name"
        raise PatternError(message, offset=offset, length=max(1, len(name)), hint=hint)
    if name in captures:
        message = f"the capture {quoted(name)} is there twice"
        raise PatternError(message, offset=offset, length=len(name), hint="give each a name of its own")
    captures.append(name)
    return name


def _literal(text: str, offset: int) -> str:
    for character, message, hint in _BRACES:
        if character in text:
            raise PatternError(message, offset=offset + text.index(character), length=1, hint=hint)
    if "*" in text:
        hint = "write `{name}` for one segment, and `/**` at the end for one or more"
        raise PatternError("`*` has no meaning here", offset=offset + text.index("*"), length=1, hint=hint)
    if found := _NEVER_IN_A_SEGMENT.search(text):
        hints = {
            "%": "literal segments are written decoded, such as `a b` for `a%20b`",
            "?": "the query is no part of the path; see `request.query` in conditions",
        }
        message = f"no canonical path has a `{found.group()}` in it, so nothing would fit"
        hint = hints.get(found.group(), "requests with it are refused before any rule is asked")
        raise PatternError(message, offset=offset + found.start(), length=1, hint=hint)
    return text


def parse_host_pattern(text: str) -> HostPattern:
    """Read a host pattern: `orders.shop.example`, `*.shop.example` or `*`, perhaps with a port. Raises PatternError."""
    if text == "*" or text.startswith("*:"):
        return HostPattern("*", _canonical(f"any{text[1:]}", text).port)
    if text.startswith("*."):
        host = _canonical(text[2:], text)
        return HostPattern(f"*.{host.name}", host.port)
    if "*" in text:
        hint = "a host, `*.` and a host, or `*` alone"
        raise PatternError("`*` can only stand for the first labels", offset=text.index("*"), length=1, hint=hint)
    host = _canonical(text, text)
    return HostPattern(host.name, host.port)


def _canonical(host: str, text: str) -> HostPattern:
    try:
        canonical = canonical_host(host)
    except Refused as error:
        hint = "such as `orders.shop.example`, `*.shop.example` or `orders.shop.example:8443`"
        raise PatternError(f"{quoted(text)} is no host: {error.detail.rpartition(': ')[2]}", hint=hint) from error
    written = canonical.name if canonical.port is None else f"{canonical.name}:{canonical.port}"
    if written != host:
        message = f"{quoted(text)} is not the form that hosts are compared in"
        raise PatternError(message, hint=f"write `{text.removesuffix(host)}{written}`")
    return HostPattern(canonical.name, canonical.port)
