"""The canonical path, strict: a path that two servers could read in two ways is refused.

No `urlsplit` and no normalisation: what is ambiguous is refused, so there is nothing to resolve, merge or decode twice.
"""

import re
from typing import NamedTuple

from authz_server.errors import Reason, Refused
from authz_server.model import Path
from authz_server.request.percent import InvalidEscape, percent_decoded

MAX_PATH_BYTES = 64 * 1024
"""Without the query. Beyond it servers differ in what they do, and every rule would have to walk it."""

MAX_SEGMENTS = 1024
"""Deny rules look at each of them."""

# Printable ASCII without `" # ; < > ? \ ^ { | }` and the backquote.
_TARGET = re.compile(r"(/[!$-:=@-\[\]_a-z~]*)(?:\?([^\x00- #\x7f]*))?", re.ASCII)
# An escaped `# % . / ; ? \`, or a control character.
_FORBIDDEN_ESCAPE = re.compile(r"%(?:[01][0-9A-Fa-f]|2[35EFef]|3[BFbf]|5[Cc]|7[Ff])", re.ASCII)
_C1_CONTROL = re.compile("[\x80-\x9f]")

_EMPTY = Path((), trailing_slash=False)


class CanonicalTarget(NamedTuple):
    """A request target taken apart."""

    path: Path
    path_text: str
    """As sent, without the query."""
    query_text: str
    """What follows the first `?`; empty where there is none."""


def canonical_path(target: str, *, allow_empty: bool = False) -> CanonicalTarget:
    """Take a request target apart in the one way that it can be read; segments are percent-decoded once.

    `allow_empty` admits the empty target of CONNECT. Raises Refused (`ambiguous_path`).
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        if allow_empty and not target:
            return CanonicalTarget(_EMPTY, "", "")
        raise _ambiguous(fault_of_target(target))
    path_text, query_text = match.groups("")
    if len(path_text) > MAX_PATH_BYTES:
        raise _ambiguous(f"more than {MAX_PATH_BYTES} bytes")
    if path_text.count("/") > MAX_SEGMENTS:
        raise _ambiguous(f"more than {MAX_SEGMENTS} segments")
    if "//" in path_text:
        raise _ambiguous("an empty segment")
    if "/." in path_text and ("/./" in path_text or "/../" in path_text or path_text.endswith(("/.", "/.."))):
        raise _ambiguous("a segment `.` or `..`")
    decoded = _decoded(path_text) if "%" in path_text else path_text
    segments = decoded.split("/")
    if segments[-1]:
        return CanonicalTarget(Path(tuple(segments[1:]), False), path_text, query_text)
    return CanonicalTarget(Path(tuple(segments[1:-1]), True), path_text, query_text)


def _decoded(path_text: str) -> str:
    """The path with its escapes decoded; none of them can be a separator, so it can be split afterwards."""
    if _FORBIDDEN_ESCAPE.search(path_text):
        raise _ambiguous("an escape of a separator, dot, percent sign or control character")
    try:
        decoded = percent_decoded(path_text)
    except InvalidEscape as error:
        raise _ambiguous(str(error)) from error
    if _C1_CONTROL.search(decoded):
        raise _ambiguous("an escape of a control character")
    return decoded


def fault_of_target(target: str) -> str:
    """What is wrong with a target that does not have the form of one, in words without the client's text."""
    if not target:
        return "an empty path"
    if not target.startswith("/"):
        return "no slash at the beginning"
    if "#" in target:
        return "a `#`"
    return "a character that may not stand in a request target"


def _ambiguous(fault: str) -> Refused:
    return Refused(Reason.AMBIGUOUS_PATH, f"the path has {fault}")
