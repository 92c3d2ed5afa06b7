"""The text of a file, with its lines, and what must not stand anywhere in it."""

import re
import unicodedata
from bisect import bisect_right
from functools import cached_property
from itertools import islice

from authz_server.documents.problem import Position, Problem

MAX_BYTES = 1024 * 1024
MAX_PROBLEMS = 100
MAX_SHOWN_LINE = 400

_LINE_BREAK = re.compile(r"\r\n|\r|\n")

# What an editor does not show, or shows elsewhere than it stands (CVE-2021-42574), and what YAML takes for a line break
# where an editor does not.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ud800-\udfff\ufff0-\uffff\U000e0000-\U000e007f]"
)


class Source:
    """A file's name as messages show it, and its text."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text

    @cached_property
    def lines(self) -> list[str]:
        """The lines without their ends; at least one."""
        return _LINE_BREAK.split(self.text)

    def line(self, number: int) -> str:
        """The text of a line counted from 1, "" behind the last."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def position_at(self, index: int, length: int = 1) -> Position:
        """The position of the character with this index in the text."""
        line = bisect_right(self._line_starts, index)
        return Position(self.file, line, index - self._line_starts[line - 1] + 1, length)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_BREAK.finditer(self.text))]

    def problem(self, position: Position, code: str, message: str, hint: str = "") -> Problem:
        """A problem at a position of this file, safe to print on a terminal."""
        if position.line > len(self.lines):
            # What is missing at the end of a text without a last line break stands behind its last character.
            position = Position(position.file, len(self.lines), len(self.lines[-1]) + 1)
        line = self.line(position.line)
        shown = printable(line) if len(line) <= MAX_SHOWN_LINE else ""
        return Problem(position, code, printable(message), printable(hint), shown)


def printable(text: str) -> str:
    """The text with a replacement character for each that a terminal would not show as it is."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def printable_line(text: str) -> str:
    """The same for a text that is to be one line, whatever it holds."""
    return printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}")


def decode(content: bytes, file: str) -> tuple[Source | None, list[Problem]]:
    """The text of a file, unless it is too big, not UTF-8 or holds characters that must not be there."""
    if len(content) > MAX_BYTES:
        message = f"the file has {len(content):,} bytes; {MAX_BYTES:,} are the most"
        return None, [Problem(Position(file, 1, 1), "file_too_big", message, "split it into several files")]
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return None, [_not_utf8(content, file, error)]
    source = Source(file, text)
    problems = [_forbidden(source, match) for match in islice(_FORBIDDEN.finditer(text), MAX_PROBLEMS)]
    return (None if problems else source), problems


def _not_utf8(content: bytes, file: str, error: UnicodeDecodeError) -> Problem:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = "save it as UTF-8 without a byte order mark"
        return Problem(Position(file, 1, 1), "not_utf8", "the file is UTF-16", hint)
    readable = Source(file, content.decode(errors="replace"))
    position = readable.position_at(len(content[: error.start].decode(errors="replace")))
    message = f"the byte 0x{content[error.start]:02x} is not UTF-8"
    return readable.problem(position, "not_utf8", message, "save the file as UTF-8")


def _forbidden(source: Source, match: re.Match[str]) -> Problem:
    character = match.group()
    position = source.position_at(match.start())
    if character == "\ufeff" and match.start() == 0:
        hint = "save the file as UTF-8 without it"
        return source.problem(position, "byte_order_mark", "the file begins with a byte order mark", hint)
    name = unicodedata.name(character, "control character").lower()
    code = f"{ord(character):04X}"
    message = f"the character U+{code} ({name}) does not show what it is"
    hint = f'remove it; where it is meant, write "\\u{code}" in double quotes'
    return source.problem(position, "forbidden_character", message, hint if len(code) == 4 else "remove it")
