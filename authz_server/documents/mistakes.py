"""What somebody most likely did who wrote what YAML cannot read: the cause is seldom where the parser stops."""

import re
from typing import NamedTuple

from yaml import MarkedYAMLError
from yaml.events import ScalarEvent

from authz_server.documents.problem import Position
from authz_server.documents.source import MAX_SHOWN_LINE, Source

INDENTATION = "mend the indentation"

_CONFLICT = re.compile(r"<{7}(?: |$)")
_FIELD = re.compile(r"\s*(?:- +)*(?P<name>[A-Za-z_][\w-]*):(?:\s|$)", re.ASCII)
# A path with a capture among other plain texts, where `{` begins a mapping.
_BRACES = re.compile(r"(?<=[\[,:\s])(?P<text>/[^\s,\[\]{}\"']*\{[^\s,\[\]{}\"']*\}[^\s,\[\]{}\"']*)")


class Mistake(NamedTuple):
    """What is wrong, where, and what to do."""

    position: Position
    message: str
    hint: str


def likely_mistake(source: Source, error: MarkedYAMLError, last: ScalarEvent | None) -> Mistake | None:
    """The cause of an error of the parser, if it can be told; `last` is the last scalar that was read before it."""
    line = getattr(error.problem_mark, "line", 0) + 1
    problem = error.problem or ""
    return (
        _conflict(source)
        or _open_quote(source, line, last)
        or _no_break_space(source, line)
        or (_braces(source, line) if "',' or" in problem else None)
        or (
            _too_far(source, line, getattr(error.problem_mark, "column", 0))
            if "mapping values are not allowed" in problem
            else None
        )
        or (_stray_item(source, error) if "expected key" in problem or "expected '-'" in problem else None)
    )


def _conflict(source: Source) -> Mistake | None:
    for number, line in enumerate(source.lines, 1):
        if _CONFLICT.match(line):
            hint = "keep one of the two versions, and remove the lines with `<<<<<<<`, `=======` and `>>>>>>>`"
            return Mistake(Position(source.file, number, 1, 7), "a merge left a conflict here", hint)
    return None


def _open_quote(source: Source, line: int, last: ScalarEvent | None) -> Mistake | None:
    """A quoted text over several lines behind whose end something follows: that end is the next text's beginning."""
    if last is None or last.style not in ("'", '"'):
        return None
    start, end = last.start_mark, last.end_mark
    if start is None or end is None or start.line == end.line or end.line + 1 != line:
        return None
    return Mistake(Position(source.file, start.line + 1, start.column + 1), "the quote is never closed", "add it")


def _no_break_space(source: Source, line: int) -> Mistake | None:
    for number in (line - 1, line):
        column = source.line(number).find("\u00a0")
        if column >= 0:
            position = Position(source.file, number, column + 1)
            return Mistake(position, "there is a no-break space", "write a plain space")
    return None


def _braces(source: Source, line: int) -> Mistake | None:
    # A line that is too long to be shown is none that somebody wrote by hand.
    found = _BRACES.search(source.line(line)[:MAX_SHOWN_LINE])
    if found is None:
        return None
    text = found["text"]
    position = Position(source.file, line, found.start() + 1, len(text))
    hint = f'put a text that holds `{{` in quotes: `["{text}"]`'
    return Mistake(position, "the `{` begins a mapping here", hint)


def _too_far(source: Source, line: int, column: int) -> Mistake | None:
    """A field, whose `:` is in the column, below one that has its value already."""
    text = source.line(line)
    field = _FIELD.match(text)
    above = next((number for number in range(line - 1, 0, -1) if source.line(number).strip()), 0)
    if field is None or field.end("name") != column or not _FIELD.match(source.line(above)):
        return None
    if text.lstrip().startswith("- "):
        position = Position(source.file, line, len(text) - len(text.lstrip()) + 1)
        return Mistake(
            position,
            "a list item cannot stand below a field that has a value",
            f"{INDENTATION}, or remove the value on line {above}",
        )
    position = Position(source.file, line, field.start("name") + 1, len(field["name"]))
    return Mistake(position, "this does not line up with the fields above it", INDENTATION)


def _stray_item(source: Source, error: MarkedYAMLError) -> Mistake | None:
    mark = error.problem_mark
    line, column = getattr(mark, "line", 0) + 1, getattr(mark, "column", 0)
    text = source.line(line)
    if text[:column].strip() or not text[column:].startswith("- "):
        return None
    position = Position(source.file, line, column + 1)
    return Mistake(position, "this list item does not line up with the items above it", INDENTATION)
