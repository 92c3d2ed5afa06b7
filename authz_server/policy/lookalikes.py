"""What people carry over from other systems into path templates, where it would be literal text that no path holds.

A deny rule that can never fit protects nothing, so each of these is an error that says how it is written here.
"""

import re
from typing import NamedTuple


class Lookalike(NamedTuple):
    """A part of a template, `length` characters from `offset`, that means something in another system only."""

    offset: int
    length: int
    message: str
    hint: str


_NO_REGEX = "a path template has no regular expressions"
_WHOLE = "leave it out: a template is about the whole path"
_EACH = "write one item of `paths` for each"
_CAPTURES = "write `{name}` for one segment, `{name:int}` for digits, and `/**` at the end for one or more segments"

_REGEX: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^\^|(?<=^/)\^|\$$"), _WHOLE),
    (re.compile(r"\([^()|]*\|[^()]*\)|\|(?=/)"), _EACH),
    (re.compile(r"\(\?"), _CAPTURES),
    (re.compile(r"\\[A-Za-z./-]"), _CAPTURES),
    (re.compile(r"\.\*|\.\+(?=[/)}?]|$)"), _CAPTURES),
    (re.compile(r"\[\^?[^\[\]]*\](?:[+*?]|\{\d)|\[\^[^\[\]]+\]|\[(?:\w-\w)+\]", re.ASCII), _CAPTURES),
    (re.compile(r"(?<=/)\?$"), "with and without a final slash are two paths: write one item of `paths` for each"),
)
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PARAMETERS = (
    re.compile(rf"(?<=/):(?P<name>{_NAME})(?P<rest>[*+])?\??(?=/|$)"),
    re.compile(rf"<(?:(?P<kind>[a-z]+):)?(?P<name>{_NAME})>"),
    re.compile(rf"(?<=/)\[(?P<name>{_NAME})\](?=/|$)"),
    re.compile(rf"(?<=/)\[?\[(?P<rest>\.\.\.)(?P<name>{_NAME})\]\]?(?=/|$)"),
    re.compile(rf"\$\{{(?P<name>{_NAME})\}}"),
    re.compile(rf"\{{(?:(?P<rest>\*\*?)(?P<name>{_NAME})|(?P<before>{_NAME})\*\*?)\}}"),
)
_SUSPECT = re.compile(r"[\s^$|?\\\[<*+]|/:")
"""What each of these, and a blank at an end, has in it."""
_KINDS = {"int": ":int", "uuid": ":uuid", "path": "..."}


def lookalike(text: str) -> Lookalike | None:
    """The first part of a template that means something in another system only, if there is one."""
    # The end that most templates with a `*` have means what it says.
    if not _SUSPECT.search(text.removesuffix("/**")):
        return None
    if text != text.strip():
        at_beginning = text[:1].isspace()
        where = "beginning" if at_beginning else "end"
        offset = 0 if at_beginning else len(text.rstrip())
        return Lookalike(offset, 1, f"there is a blank at the {where} of the path", "remove it")
    if "\u00a0" in text:
        return Lookalike(text.index("\u00a0"), 1, "there is a no-break space", "write a plain space")
    for pattern, hint in _REGEX:
        if found := pattern.search(text):
            return Lookalike(found.start(), len(found.group()), _NO_REGEX, hint)
    for pattern in _PARAMETERS:
        if found := pattern.search(text):
            groups = found.groupdict()
            name = groups["name"] or groups.get("before")
            suffix = "..." if groups.get("rest") or groups.get("before") else _KINDS.get(groups.get("kind") or "", "")
            message = f"`{found.group()}` captures nothing here"
            return Lookalike(found.start(), len(found.group()), message, f"write `{{{name}{suffix}}}`")
    return None
