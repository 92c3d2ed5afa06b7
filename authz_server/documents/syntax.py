"""Errors of YAML's syntax in words that help whoever wrote it."""

from typing import NamedTuple

from yaml import MarkedYAMLError
from yaml.events import ScalarEvent

from authz_server.documents.mistakes import INDENTATION, likely_mistake
from authz_server.documents.problem import Position, Problem
from authz_server.documents.source import Source


class _Explanation(NamedTuple):
    problem: str
    """A part of libyaml's words."""
    context: str
    """A part of libyaml's words for what was being read; "" is anything."""
    message: str
    hint: str
    at_context: bool = False
    """The place to show is where that began, and not where reading stopped."""


_QUOTE = "put a text that begins with a special character in quotes"
_BACKSLASH = r"write a backslash as \\, or use single quotes"

_EXPLANATIONS = (
    _Explanation("found a tab", "", "a tab is no indentation in YAML", "use spaces"),
    _Explanation("unexpected end of stream", "quoted scalar", "the quote is never closed", "add it", True),
    _Explanation("unexpected document indicator", "quoted scalar", "the quote is never closed", "add it", True),
    _Explanation("found unknown escape", "", "there is no such escape in double quotes", _BACKSLASH),
    _Explanation("hexdecimal", "", "the escape needs hexadecimal digits", _BACKSLASH),
    _Explanation("invalid Unicode", "", "the escape names no character", _BACKSLASH),
    _Explanation("", "scanning an alias", "a text that begins with `*` needs quotes", 'such as "*.example.org"', True),
    _Explanation("", "scanning an anchor", "a text that begins with `&` needs quotes", 'such as "&text"', True),
    _Explanation("", "tag", "a text that begins with `!` needs quotes", 'such as "!text"', True),
    _Explanation(
        "", "block scalar", "only `-`, `+` or a digit may follow `|` or `>`", "begin the text on the next line"
    ),
    _Explanation("", "directive", "a line that begins with `%` needs quotes", 'such as "%text"', True),
    _Explanation(
        "mapping values are not allowed",
        "",
        "a `:` is not expected here",
        f"put a text that holds `: ` in quotes, or {INDENTATION}",
    ),
    _Explanation(
        "could not find expected ':'",
        "",
        "this is neither `field: value` nor a list item",
        "is a `:` missing after the name of a field?",
        True,
    ),
    _Explanation(
        "block sequence entries",
        "",
        "a list item is not expected here",
        "begin the list on a line of its own, below its field",
    ),
    _Explanation("expected '-'", "", "this stands among the items of a list", f"{INDENTATION}, or begin it with `- `"),
    _Explanation("did not find expected key", "", "this does not line up with the fields above it", INDENTATION),
    _Explanation("mapping keys are not allowed", "", "a `?` is not expected here", _QUOTE),
    _Explanation("',' or ']'", "", "the `[` is never closed, or a `,` is missing", "the list ends with `]`", True),
    _Explanation("',' or '}'", "", "the `{` is never closed, or a `,` is missing", "the fields end with `}`", True),
    _Explanation("unexpected ':'", "", "a `:` is not expected here", "put a text that holds `:` in quotes"),
    _Explanation("expected node content", "", "a value is expected here", _QUOTE),
    _Explanation("document start", "", "the document has ended before this", "there is one document in each file"),
)


def syntax_problem(source: Source, error: MarkedYAMLError, last: ScalarEvent | None = None) -> Problem:
    """The problem that made libyaml give up; `last` is the last scalar that it read."""
    if (mistake := likely_mistake(source, error, last)) is not None:
        return source.problem(mistake.position, "yaml_syntax", mistake.message, mistake.hint)
    position = _position(source, error.problem_mark)
    line, at = source.line(position.line), position.column - 1
    character, before = line[at : at + 1], line[:at].rstrip()
    problem, context = error.problem or "", error.context or ""
    if "cannot start any token" in problem:
        if character == "\t":
            return source.problem(position, "yaml_syntax", "a tab is no indentation in YAML", "use spaces")
        message = f"a text that begins with `{character}` needs quotes"
        return source.problem(position, "yaml_syntax", message, f'such as "{character}text"')
    if "did not find expected key" in problem and before.endswith(("'", '"')):
        hint = "put all of it in quotes, or below a line that ends with `>-`"
        return source.problem(position, "yaml_syntax", "the value goes on after its closing quote", hint)
    for known in _EXPLANATIONS:
        if known.problem in problem and known.context in context:
            place = _position(source, error.context_mark) if known.at_context and error.context_mark else position
            return source.problem(place, "yaml_syntax", known.message, known.hint)
    return source.problem(position, "yaml_syntax", f"this is not YAML: {problem or context}")


def _position(source: Source, mark: object) -> Position:
    line, column = getattr(mark, "line", 0), getattr(mark, "column", 0)
    if line >= len(source.lines):
        line, column = len(source.lines) - 1, len(source.lines[-1])
    # libyaml stops where it was surprised, which at the end of a file is behind what anybody wrote.
    while line > 0 and not source.lines[line].strip():
        line -= 1
        column = len(source.lines[line].rstrip())
    return Position(source.file, line + 1, column + 1)
