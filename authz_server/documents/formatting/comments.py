"""Comments: where they stand, and what they are about.

A comment behind something on its line is about that. One on a line of its own is about what comes next, unless it
stands further to the right: then it belongs to the end of what comes before it.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from authz_server.documents.formatting.entries import BLANK, Entry, is_blank
from authz_server.documents.source import Source

_COMMENT = re.compile(r"#[^\r\n]*")
_MODELINE = re.compile(r"#\s*(?:yaml-language-server:|vim?:|-\*-)")


class Comment(NamedTuple):
    """One comment, to the end of its line; line and column count from 0."""

    at: int
    """Index of its first character."""
    line: int
    column: int
    text: str
    alone: bool
    """Nothing else is on its line."""


def comments_of(root: Entry, source: Source) -> list[Comment]:
    """All comments of the text: what begins with `#` between the names and values."""
    gaps = _gaps(root, source)
    return [_comment(source, match) for start, end in gaps for match in _COMMENT.finditer(source.text, start, end)]


def attach(root: Entry, comments: list[Comment], source: Source) -> None:
    """Give each comment to the entry that it is about."""
    ends: dict[int, Entry] = {}
    for entry in root.all_below():
        if entry.node.style not in ("block", "|", ">"):
            line = source.position_at(entry.node.end).line - 1
            # Of those that end on one line the last, and of a list and its last item the list.
            if line not in ends or entry.end > ends[line].end:
                ends[line] = entry
    for comment in comments:
        ended = ends.get(comment.line)
        if comment.alone:
            _attach_alone(root, comment, source)
        else:
            _attach_behind(root, comment, source, ended if ended and ended.end <= comment.at else None)


def _gaps(root: Entry, source: Source) -> Iterator[tuple[int, int]]:
    at = 0
    for entry in root.all_below():
        if entry.node.key is not None:
            yield at, entry.node.key.start
            at = entry.node.key.end
        if entry.node.style not in ("block", "flow"):
            start = entry.node.start
            yield at, start
            at = entry.node.end
            if entry.node.style in ("|", ">"):
                begin = source.position_at(start)
                yield start, start + len(source.line(begin.line)) - begin.column + 1
    yield at, len(source.text)


def _comment(source: Source, match: re.Match[str]) -> Comment:
    position = source.position_at(match.start())
    before = source.line(position.line)[: position.column - 1]
    return Comment(match.start(), position.line - 1, position.column - 1, match.group().rstrip(), not before.strip())


def _attach_behind(root: Entry, comment: Comment, source: Source, ended: Entry | None) -> None:
    holder = _holder(root, comment)
    begins_here = holder.is_field and holder.line == comment.line
    owner = ended or (holder if begins_here else None)
    if owner is None:
        _attach_alone(root, comment, source)
    elif owner.behind:
        owner.before.append(comment.text)
    else:
        owner.behind = comment.text


def _attach_alone(root: Entry, comment: Comment, source: Source) -> None:
    holder = _holder(root, comment)
    place = bisect_right(holder.entries, comment.at, key=_start)
    following = holder.entries[place] if place < len(holder.entries) else None
    if not holder.entries and holder is not root:
        # Nothing to stand above: within a text that goes on below its name, or an empty list.
        holder.before.append(comment.text)
        return
    deeper = _deeper(holder, comment, following, source)
    if deeper is holder and following is not None:
        _add(following.before, comment, source)
        if len(following.before) == 1:
            following.apart = comment.line > 0 and is_blank(source, comment.line - 1)
        if is_blank(source, comment.line + 1):
            following.before.append(BLANK)
        return
    _add(deeper.at_end, comment, source, apart=True)


def _holder(root: Entry, comment: Comment) -> Entry:
    """The innermost entry around the comment."""
    holder = root
    while True:
        place = bisect_left(holder.entries, comment.at, key=_start)
        if not place or holder.entries[place - 1].end <= comment.at:
            return holder
        holder = holder.entries[place - 1]


def _deeper(holder: Entry, comment: Comment, following: Entry | None, source: Source) -> Entry:
    """Where the comment belongs by its column: at the end of a block that stands before it, or here."""
    if following is not None and comment.column <= _column(holder, following, source):
        return holder
    while True:
        place = bisect_right(holder.entries, comment.at, key=_start)
        above = holder.entries[place - 1] if place else None
        if above is None or above.node.style != "block" or comment.column < above.column_within:
            return holder
        holder = above


def _start(entry: Entry) -> int:
    return entry.start


def _column(holder: Entry, entry: Entry, source: Source) -> int:
    return holder.column_within if entry.node.key is None else source.position_at(entry.start).column - 1


def _add(lines: list[str], comment: Comment, source: Source, *, apart: bool = False) -> None:
    if (lines or apart) and comment.line > 0 and is_blank(source, comment.line - 1) and lines[-1:] != [BLANK]:
        lines.append(BLANK)
    lines.append(comment.text)


def heading(root: Entry) -> list[str]:
    """Take the comments that are about the whole file from its first entry: down to an empty line, or for editors."""
    if not root.entries:
        return []
    first = root.entries[0]
    own = len(first.before)
    while own and first.before[own - 1] != BLANK and not _MODELINE.match(first.before[own - 1]):
        own -= 1
    taken, first.before = first.before[:own], first.before[own:]
    return taken
