"""How deny rules read paths: without regard to case, trailing dots, encoded spaces and slashes.

Backends differ in what they ignore. A deny rule must not be escaped by a spelling that some backend takes for
the same path, so templates of deny rules and the paths they meet are folded in the same way.
"""

from collections.abc import Mapping

import msgspec

from authz_server.model import Path
from authz_server.policy.patterns import Capture, PathTemplate


def fold_segment(segment: str) -> str:
    """The segment without regard to case and without trailing dots and spaces, unless it is nothing else."""
    plain = segment.casefold()
    return plain.rstrip(". ") or plain


def folded_readings(path: Path) -> list[tuple[str, ...]]:
    """The readings of a path that a deny rule has to consider: one for usual paths, at most two."""
    plain = tuple([segment.casefold() for segment in path.segments])
    stripped = _stripped(plain)
    return [plain] if stripped == plain else [plain, stripped]


def fold_capture(capture: Capture) -> Capture:
    """The capture of a deny rule's template as it is compared with folded segments."""
    suffix = capture.suffix.casefold().rstrip(". ")
    return msgspec.structs.replace(capture, prefix=capture.prefix.casefold(), suffix=suffix)


def folded_captures(template: PathTemplate, path: Path) -> list[Mapping[str, str]]:
    """The captures that a deny rule's conditions have to consider: as written, and in every folded reading."""
    captures: list[Mapping[str, str]] = []
    for segments in (path.segments, _stripped(path.segments), *folded_readings(path)):
        further = len(segments) - len(template.segments)
        if further < 1 if template.rest else further != 0:
            continue
        if (one := _captures(template, segments)) not in captures:
            captures.append(one)
    return captures


def _stripped(segments: tuple[str, ...]) -> tuple[str, ...]:
    """Without trailing dots and spaces of each segment, nor segments at the end that are nothing else."""
    stripped = [segment.rstrip(". ") for segment in segments]
    while stripped and not stripped[-1]:
        stripped.pop()
    return tuple([short or segment for short, segment in zip(stripped, segments, strict=False)])


def _captures(template: PathTemplate, segments: tuple[str, ...]) -> dict[str, str]:
    captures = {}
    for pattern, segment in zip(template.segments, segments, strict=False):
        if isinstance(pattern, Capture):
            value = pattern.accepts(segment)
            if value is None:
                value = fold_capture(pattern).accepts(fold_segment(segment))
            if value is not None:
                captures[pattern.name] = value
    if template.rest is not None and template.rest.name:
        captures[template.rest.name] = "/".join(segments[len(template.segments) :])
    return captures
