"""How deny rules read paths: without regard to case, trailing dots, encoded spaces and slashes.

Backends differ in what they ignore. A deny rule must not be escaped by a spelling that some backend takes for
the same path, so templates of deny rules and the paths they meet are folded in the same way.
"""

from collections.abc import Mapping

import msgspec

from authz_server.model import Path
from authz_server.policy.patterns import Capture, PathTemplate

# Upper case makes I of the dotless i, lower case makes i of the dotted I; only full case folding keeps them apart.
_TURKISH = str.maketrans({"\u0130": "i", "\u0131": "i"})


def fold_case(text: str) -> str:
    """The text without regard to case, in any way that a backend may compare it."""
    return text.casefold() if text.isascii() else text.translate(_TURKISH).casefold()


def fold_segment(segment: str) -> str:
    """The segment without regard to case and without trailing dots and spaces, unless it is nothing else."""
    plain = fold_case(segment)
    return plain.rstrip(". ") or plain


def folded_readings(path: Path) -> list[tuple[str, ...]]:
    """The readings of a path that a deny rule has to consider: one for usual paths, at most three."""
    return _readings(tuple([fold_case(segment) for segment in path.segments]))


def fold_capture(capture: Capture) -> Capture:
    """The capture of a deny rule's template as it is compared with folded segments."""
    suffix = fold_case(capture.suffix).rstrip(". ")
    return msgspec.structs.replace(capture, prefix=fold_case(capture.prefix), suffix=suffix)


def folded_captures(template: PathTemplate, path: Path) -> list[Mapping[str, str]]:
    """The captures that a deny rule's conditions have to consider: as written, and in every folded reading."""
    captures: list[Mapping[str, str]] = []
    for segments in (*_readings(path.segments), *folded_readings(path)):
        further = len(segments) - len(template.segments)
        if further < 1 if template.rest else further != 0:
            continue
        if (one := _captures(template, segments)) not in captures:
            captures.append(one)
    return captures


def _readings(segments: tuple[str, ...]) -> list[tuple[str, ...]]:
    """As they are, without trailing dots and spaces, and without segments at the end that are nothing else."""
    if "" not in segments and not any(segment.endswith((".", " ")) for segment in segments):
        return [segments]
    stripped = tuple([segment.rstrip(". ") or segment for segment in segments])
    end = len(segments)
    while end and not segments[end - 1].strip(". "):
        end -= 1
    return list(dict.fromkeys((segments, stripped, stripped[:end])))


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
