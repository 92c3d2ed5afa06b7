"""A parsed document: plain values, and where in the file each of them stands."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from authz_server.documents.offsets import source_offsets
from authz_server.documents.problem import Position, Problem
from authz_server.documents.source import Source

Step = str | int
FieldPath = Sequence[Step]
"""How to get to a value: names of fields and indexes of items."""


class Mark(Protocol):
    """A place in the text, counted from 0 in characters."""

    index: int
    line: int
    column: int


class Span(NamedTuple):
    """A stretch of the text."""

    start: Mark
    end: Mark


class Node:
    """One value with its place. `children` are the nodes below it by field name or index."""

    __slots__ = ("children", "key", "refused", "source", "span", "style", "value")

    def __init__(self, value: object, source: Source, span: Span, style: str, key: Span | None) -> None:
        self.value: Any = value
        self.source = source
        self.span = span
        self.style = style
        """Of a scalar: "" (plain), ', ", | or >; of others: "flow" or "block"."""
        self.key = key
        """Where the name of the field stands whose value this is."""
        self.children: dict[Step, Node] = {}
        self.refused = False
        """A problem has been reported here; more of them would only be its consequence."""


class Document:
    """What a file says, as plain values, and the positions of everything in it."""

    def __init__(self, root: Node) -> None:
        self.root = root

    @property
    def value(self) -> object:
        """The whole document as dicts, lists and scalars."""
        return self.root.value

    @property
    def file(self) -> str:
        """The name of the file as messages show it."""
        return self.root.source.file

    def find(self, path: FieldPath) -> Node:
        """The node at the path, or the last one on the way there that exists."""
        node = self.root
        for step in path:
            below = node.children.get(step)
            if below is None:
                break
            node = below
        return node

    def position(self, path: FieldPath = (), *, key: bool = False) -> Position:
        """Where the value at the path stands, or with `key` the name of its field."""
        node = self.find(path)
        return _position(node.source, node.key if key and node.key else _underlined(node))

    def problem(self, path: FieldPath, code: str, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """A problem with the value at the path, or with `key` with the name of its field."""
        return self.find(path).source.problem(self.position(path, key=key), code, message, hint)

    def problem_within(
        self, path: FieldPath, code: str, message: str, hint: str = "", *, offset: int, length: int | None
    ) -> Problem:
        """A problem with `length` characters from `offset` of the text at the path; None is the rest of it."""
        node = self.find(path)
        if not isinstance(node.value, str) or (offset == 0 and length in (None, len(node.value))):
            return self.problem(path, code, message, hint)
        return node.source.problem(_position_within(node, offset, length), code, message, hint)

    def replace(self, path: FieldPath, other: "Document") -> None:
        """Put another document's value at the path, with its own file and positions; mappings on the way are made."""
        node = self.root
        for step in path[:-1]:
            if step not in node.children or not isinstance(node.children[step].value, dict):
                _attach(node, step, Node({}, other.root.source, other.root.span, "block", None))
            node = node.children[step]
        _attach(node, path[-1], other.root)


def _attach(parent: Node, step: Step, child: Node) -> None:
    parent.children[step] = child
    parent.value[step] = child.value


def _position(source: Source, span: Span) -> Position:
    start, end = span
    rest_of_line = len(source.line(start.line + 1)) - start.column
    return Position(source.file, start.line + 1, start.column + 1, max(1, min(end.index - start.index, rest_of_line)))


def _underlined(node: Node) -> Span:
    # Of a block only the name of its first field, or the first item.
    if node.style == "block" and node.children:
        first = next(iter(node.children.values()))
        return first.key or _underlined(first)
    return node.span


def _position_within(node: Node, offset: int, length: int | None) -> Position:
    source, text = node.source, node.value
    start, end = node.span
    offsets = source_offsets(source.text[start.index : end.index], node.style, text)
    if offsets is None:
        return _position(source, node.span)
    first = min(offset, len(text))
    behind = len(text) if length is None else min(first + max(length, 1), len(text))
    begin = start.index + offsets[first]
    position = source.position_at(begin)
    width = offsets[behind - 1] + 1 - offsets[first] if behind > first else 1
    rest_of_line = len(source.line(position.line)) - position.column + 1
    return Position(position.file, position.line, position.column, max(1, min(width, rest_of_line)))
