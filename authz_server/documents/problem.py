"""What is wrong with a file that somebody wrote: where, what, and what to write instead."""

from collections.abc import Sequence
from textwrap import wrap

from msgspec import Struct

AMBIGUOUS = "ambiguous_value"
"""The code where readers of YAML disagree about a value."""


_LONGEST_HINT = 120
"""Longer ones, such as lists of all that is known, stand below what they are about."""
_WIDTH = 100


class Position(Struct, frozen=True, order=True):
    """A place in a file; line and column count from 1, `length` is what to underline (at least 1)."""

    file: str
    line: int
    column: int
    length: int = 1


class Problem(Struct, frozen=True):
    """One error. `code` is stable and for machines, `message` and `hint` are for people."""

    position: Position
    code: str
    message: str
    hint: str = ""
    source_line: str = ""
    """The text of the line, for underlining; empty where the file could not be read as text."""

    def __str__(self) -> str:
        place = self.position
        text = f"{self.place}: {self.message}"
        is_short = len(self.hint) <= _LONGEST_HINT
        hint = [self.hint] if is_short else wrap(self.hint, _WIDTH, break_long_words=False, break_on_hyphens=False)
        if not self.source_line:
            return "\n    ".join([text, *filter(None, hint)])
        number = str(place.line)
        margin = " " * (4 + len(number)) + " | "
        # Tabs keep their width under the underline, so that the carets stand below what they mean.
        indent = "".join("\t" if c == "\t" else " " for c in self.source_line[: place.column - 1])
        carets = "^" * max(1, min(place.length, len(self.source_line) - place.column + 1))
        beside, below = (self.hint, []) if is_short else ("", hint)
        underline = f"{margin}{indent}{carets} {beside}".rstrip()
        return "\n".join([text, f"    {number} | {self.source_line}", underline, *(margin + line for line in below)])

    @property
    def place(self) -> str:
        """`file:line:column`."""
        place = self.position
        return f"{place.file}:{place.line}:{place.column}"

    @property
    def in_one_line(self) -> str:
        """The same without file and source, for a message about the file."""
        place = self.position
        return f"line {place.line}, column {place.column}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def told_once(problems: Sequence[Problem]) -> list[Problem]:
    """Without what YAML readers disagree about where a value is wrong in every reading: what is wanted helps more."""
    places = {problem.place for problem in problems if problem.code != AMBIGUOUS}
    return [problem for problem in problems if problem.code != AMBIGUOUS or problem.place not in places]


def fields_of(problem: Problem) -> dict[str, str | int]:
    """A problem for JSON."""
    return {
        "file": problem.position.file,
        "line": problem.position.line,
        "column": problem.position.column,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
    }
