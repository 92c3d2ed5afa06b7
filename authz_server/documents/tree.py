"""A parsed document: plain values, and where in the file each of them stands."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from authz_server.documents.offsets import source_offsets
from authz_server.documents.problem import Position, Problem
from authz_server.documents.source import Source

Step = str | int
FieldPath = Sequence[Step]
"""How to get to a value: names of fields and indexes of items."""


class Span(NamedTuple):
    """A stretch of the text: the indexes of its first character and of the one behind its last."""

    start: int
    end: int


class Node(Struct, eq=False):
    """One value with its place. A large document has very many of them, so each is small."""

    value: Any
    source: Source
    start: int
    end: int
    """Indexes in the text."""
    style: str
    """Of a scalar: "" (plain), ', ", | or >; of others: "flow" or "block"."""
    key_start: int = -1
    key_end: int = -1
    """Of the name of its field; below zero where it has none."""
    children: "dict[Step, Node]" = {}
    """The nodes below it by field name or index."""
    refused: bool = False
    """A problem has been reported here; more of them would only be its consequence."""

    @property
    def span(self) -> Span:
        """Where it stands."""
        return Span(self.start, self.end)

    @property
    def key(self) -> Span | None:
        """Where the name of the field stands whose value this is."""
        return None if self.key_start < 0 else Span(self.key_start, self.key_end)


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
                _attach(node, step, empty_mapping(other.root))
            node = node.children[step]
        _attach(node, path[-1], other.root)


def empty_mapping(place: Node) -> Node:
    """A mapping for what stands at this place."""
    return Node({}, place.source, place.start, place.end, "block")


def _attach(parent: Node, step: Step, child: Node) -> None:
    parent.children[step] = child
    parent.value[step] = child.value


def _position(source: Source, span: Span) -> Position:
    position = source.position_at(span.start)
    rest_of_line = len(source.line(position.line)) - position.column + 1
    return Position(position.file, position.line, position.column, max(1, min(span.end - span.start, rest_of_line)))


def _underlined(node: Node) -> Span:
    # Of a block only the name of its first field, or the first item.
    if node.style == "block" and node.children:
        first = next(iter(node.children.values()))
        return first.key or _underlined(first)
    return node.span


def _position_within(node: Node, offset: int, length: int | None) -> Position:
    source, text = node.source, node.value
    offsets = source_offsets(source.text[node.start : node.end], node.style, text)
    if offsets is None:
        return _position(source, node.span)
    first = min(offset, len(text))
    behind = len(text) if length is None else min(first + max(length, 1), len(text))
    begin = node.start + offsets[first]
    position = source.position_at(begin)
    width = offsets[behind - 1] + 1 - offsets[first] if behind > first else 1
    rest_of_line = len(source.line(position.line)) - position.column + 1
    return Position(position.file, position.line, position.column, max(1, min(width, rest_of_line)))
