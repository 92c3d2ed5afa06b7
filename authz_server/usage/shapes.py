"""Paths without the ids in them: what is alike has one shape, and a shape fits every path that it was made of.

A shape is written like a path template, with `{:int}`, `{:uuid}` and `{:text}` for segments that differ each time.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from authz_server.model import Path
from authz_server.policy.patterns import MAX_INT_DIGITS, Literal, PatternError, parse_path_template

TEXT, INT, UUID = "{:text}", "{:int}", "{:uuid}"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_VERSION = re.compile(r"v[0-9]{1,2}", re.ASCII)
_LONGEST_WORD = 40


def shape_of(path: Path, begin: int = 0) -> str:
    """The shape of a path's segments from `begin` on."""
    segments = [_shape_of_segment(segment) for segment in path.segments[begin:]]
    return f"/{'/'.join(segments)}{'/' if segments and path.trailing_slash else ''}"


def _shape_of_segment(segment: str) -> str:
    if segment.isascii() and segment.isdecimal():
        return INT if len(segment) <= MAX_INT_DIGITS else TEXT
    if _UUID.fullmatch(segment):
        return UUID
    if _VERSION.fullmatch(segment):
        return segment
    is_id = len(segment) > _LONGEST_WORD or any(character.isdecimal() for character in segment)
    return TEXT if is_id or not _is_literal(segment) else segment


def _is_literal(segment: str) -> bool:
    """Whether a template can name the segment."""
    try:
        template = parse_path_template(f"/{segment}")
    except PatternError:
        return False
    return template.segments == (Literal(segment),)


def covers(wide: str, shape: str) -> bool:
    """Whether every path of a shape is of another one, too."""
    mine, theirs = wide.split("/"), shape.split("/")
    return len(mine) == len(theirs) and all(map(_covers, mine, theirs))


def _covers(wide: str, segment: str) -> bool:
    return wide == segment or (wide == TEXT and segment != "")


def merged(shapes: Iterable[str], at_most: int) -> dict[str, str]:
    """Each shape -> the one that it becomes when there are to be no more than so many of a length.

    Of shapes that differ in one segment that becomes `{:text}`, first where most of them do.
    """
    by_length: dict[tuple[int, bool], list[str]] = defaultdict(list)
    for shape in dict.fromkeys(shapes):
        by_length[shape.count("/"), shape.endswith("/")].append(shape)
    return {shape: into for group in by_length.values() for shape, into in _merged(group, at_most).items()}


def _merged(shapes: Sequence[str], at_most: int) -> dict[str, str]:
    into = {shape: shape for shape in shapes}
    while len(left := dict.fromkeys(into.values())) > at_most:
        siblings: dict[str, list[str]] = defaultdict(list)
        for shape in left:
            for wider in _wider(shape):
                siblings[wider].append(shape)
        wider = max(siblings, key=lambda each: (len(siblings[each]), each))
        if len(siblings[wider]) == 1:
            # Nothing differs in one segment alone: the first that is not the same everywhere, everywhere.
            columns = enumerate(zip(*map(_split, left), strict=True))
            column = next(number for number, values in columns if len({*values}) > 1)
            into = {shape: _with_text(now, column) for shape, now in into.items()}
            continue
        merging = {*siblings[wider]}
        into = {shape: wider if now in merging else now for shape, now in into.items()}
    return into


def _wider(shape: str) -> Iterable[str]:
    for column, segment in enumerate(_split(shape)):
        if segment not in ("", TEXT):
            yield _with_text(shape, column)


def _with_text(shape: str, column: int) -> str:
    segments = _split(shape)
    segments[column] = TEXT
    return "/".join(segments)


def _split(shape: str) -> list[str]:
    return shape.split("/")
