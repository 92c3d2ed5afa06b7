"""Every way in which a backend of a lenient service may read a path.

Servers differ in what they do to a path and in which order: they decode escapes, resolve dots, merge slashes, cut
parameters. So the readings are all texts that these steps lead to, taken in any order and any number of times.
"""

import re
import string
from collections.abc import Callable
from typing import NamedTuple

from authz_server.errors import Reason, Refused
from authz_server.model import Path
from authz_server.request.path import MAX_PATH_BYTES, MAX_SEGMENTS, CanonicalTarget, fault_of_target
from authz_server.request.percent import InvalidEscape, percent_decoded

MAX_READINGS = 32
MAX_BYTES = 4096
MAX_SEPARATORS = 128
"""Beyond these a path with several readings is refused: each of them has to be decided."""

# As strict, but with `;` and `\`.
_TARGET = re.compile(r"(/[!$-;=@-\]_a-z~]*)(?:\?([^\x00- #\x7f]*))?", re.ASCII)
_SEVERAL = re.compile(r"[%;\\]|//|/\.\.?(?:/|\Z)")
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}", re.ASCII)
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})", re.ASCII)
_ESCAPED_SLASH = re.compile("%(2[Ff])", re.ASCII)
_ESCAPED_SEPARATOR = re.compile("%(2[Ff]|5[Cc])", re.ASCII)
_SEPARATOR = re.compile(r"/|\\|%(?:25)*(?:2[Ff]|5[Cc])", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_PARAMETERS = re.compile("[;][^/]*")
_UNRESERVED = {
    f"{letter}{digit}": chr(int(letter + digit, 16))
    for letter in "234567"
    for digit in string.hexdigits
    if chr(int(letter + digit, 16)) in string.ascii_letters + string.digits + "-._~"
}
_SLASH_IN_SEGMENT = "\0"
"""Stands for a slash that is part of a segment; a path has no controls."""


class Reading(NamedTuple):
    """What a backend may take a path for, and what it has done to it, in words without the client's text."""

    path: Path
    how: str


class _Step(NamedTuple):
    """Something that servers do to a path; `mark` is what a path has to which it makes a difference."""

    how: str
    mark: str
    read: Callable[[str], str]


def lenient_target(target: str) -> CanonicalTarget:
    """Take a request target of a lenient service apart; the path is the one whose escapes nobody decodes.

    Raises Refused (`ambiguous_path`) for what no lenient service takes either.
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        raise _ambiguous(f"has {fault_of_target(target)}")
    path_text, query_text = match.groups("")
    if len(path_text) > MAX_PATH_BYTES:
        raise _ambiguous(f"has more than {MAX_PATH_BYTES} bytes")
    if path_text.count("/") > MAX_SEGMENTS:
        raise _ambiguous(f"has more than {MAX_SEGMENTS} segments")
    _refuse_bad_escapes(path_text)
    return CanonicalTarget(_path(path_text), path_text, query_text)


def has_several(path_text: str) -> bool:
    """Whether there may be more than one reading of a path."""
    return _SEVERAL.search(path_text) is not None


def readings(path_text: str) -> list[Reading]:
    """All readings of a path, strict or lenient, each once; the first is the path as it was sent.

    Raises Refused (`ambiguous_path`) where there are too many, or a long path has more than one.
    """
    if not has_several(path_text):
        return [Reading(_path(path_text), "as sent")]
    if len(path_text) > MAX_BYTES or len(_SEPARATOR.findall(path_text)) > MAX_SEPARATORS:
        raise _ambiguous(f"has several readings, and over {MAX_BYTES} bytes or {MAX_SEPARATORS} slashes")
    found = {path_text: "as sent"}
    waiting = [path_text]
    for text in waiting:
        for step in _STEPS:
            if step.mark not in text or (other := step.read(text)) in found:
                continue
            if len(found) == MAX_READINGS:
                raise _ambiguous(f"has more than {MAX_READINGS} readings")
            found[other] = step.how if text is path_text else f"{found[text]}, {step.how}"
            waiting.append(other)
    return [Reading(_path(text), how) for text, how in found.items()]


def _refuse_bad_escapes(path_text: str) -> None:
    """Raises Refused for escapes that are broken, and what decoding once or twice must not lead to."""
    if "%" not in path_text:
        return
    try:
        once = percent_decoded(path_text)
        twice = _decoded(once)
    except InvalidEscape as error:
        raise _ambiguous(f"has {error}") from error
    if _CONTROL.search(once) or _CONTROL.search(twice):
        raise _ambiguous("has an escape of a control character")
    if _ESCAPE.search(twice):
        raise _ambiguous("is escaped more than twice")


def _decoded(text: str) -> str:
    """The text decoded once; a percent sign that begins no escape, having been one itself, stays."""
    return percent_decoded(_BROKEN_ESCAPE.sub("%25", text))


def _decoded_within_segments(text: str) -> str:
    return _decoded(_ESCAPED_SLASH.sub(_SLASH_IN_SEGMENT, text))


def _decoded_but_slashes(text: str) -> str:
    return _decoded(_ESCAPED_SLASH.sub(r"%25\1", text))


def _decoded_but_separators(text: str) -> str:
    return _decoded(_ESCAPED_SEPARATOR.sub(r"%25\1", text))


def _unreserved_decoded(text: str) -> str:
    """As proxies do that normalise: RFC 3986 section 6.2.2.2."""
    first, *others = text.split("%")
    return first + "".join([_unreserved(part) for part in others])


def _unreserved(part: str) -> str:
    """What followed a percent sign, with the sign or what the escape stands for."""
    character = _UNRESERVED.get(part[:2])
    return f"%{part}" if character is None else character + part[2:]


def _resolved(text: str) -> str:
    """Without dot segments (RFC 3986 section 5.2.4); an empty segment is one that `..` takes away."""
    parts = text[1:].split("/")
    segments: list[str] = []
    for part in parts:
        if part == "..":
            del segments[-1:]
        elif part != ".":
            segments.append(part)
    if parts[-1] in (".", ".."):
        segments.append("")
    return f"/{'/'.join(segments)}"


def _escaped_resolved(text: str) -> str:
    """As readers of URLs do it (WHATWG), which decode nothing else."""
    dots = {"%2e": ".", ".%2e": "..", "%2e.": "..", "%2e%2e": ".."}
    parts = [dots.get(part.lower(), part) for part in text.split("/")]
    return _resolved("/".join(parts))


def _resolved_without_slash(text: str) -> str:
    """The same, as a file system does it: nothing stays of a dot segment at the end."""
    resolved = _resolved(text)
    return resolved.removesuffix("/") or "/" if text.endswith(("/.", "/..")) else resolved


def _without_host(text: str) -> str:
    """As readers of URLs take `//name` at the beginning (RFC 3986 section 3.2); the name may be empty."""
    return "/" + text[2:].partition("/")[2] if text.startswith("//") else text


def _without_first_name(text: str) -> str:
    """The same in browsers' URLs (WHATWG), whose host is never empty."""
    return "/" + text.lstrip("/").partition("/")[2] if text.startswith("//") else text


def _last_without_parameters(text: str) -> str:
    rest, slash, last = text.rpartition("/")
    return rest + slash + last.partition(";")[0]


_STEPS = (
    _Step("decoded", "%", _decoded),
    _Step("decoded with slashes in segments", "%", _decoded_within_segments),
    _Step("decoded but for slashes", "%", _decoded_but_slashes),
    _Step("decoded but for slashes and backslashes", "%", _decoded_but_separators),
    _Step("letters, digits and dots decoded", "%", _unreserved_decoded),
    _Step("backslashes for slashes", "\\", lambda text: text.replace("\\", "/")),
    _Step("slashes merged", "//", lambda text: re.sub("//+", "/", text)),
    _Step("`//` for a host", "//", _without_host),
    _Step("`//` for a host that is not empty", "//", _without_first_name),
    _Step("dots resolved", "/.", _resolved),
    _Step("dots resolved without a slash at the end", "/.", _resolved_without_slash),
    _Step("dots resolved, escaped ones too", "%2", _escaped_resolved),
    _Step("without parameters", ";", lambda text: _PARAMETERS.sub("", text)),
    _Step("without the last parameters", ";", _last_without_parameters),
    _Step("cut at `;`", ";", lambda text: text.partition(";")[0]),
    _Step("cut at `?`", "?", lambda text: text.partition("?")[0]),
    _Step("cut at `#`", "#", lambda text: text.partition("#")[0]),
)


def _path(text: str) -> Path:
    *segments, last = text[1:].split("/")
    if last:
        segments.append(last)
    return Path(tuple([segment.replace(_SLASH_IN_SEGMENT, "/") for segment in segments]), not last)


def _ambiguous(fault: str) -> Refused:
    return Refused(Reason.AMBIGUOUS_PATH, f"the path {fault}")
