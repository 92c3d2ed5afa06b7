"""YAML text to a tree of nodes, without what makes YAML a trap.

Refused, each with its place: anchors, aliases, tags, merge keys, directives, several documents, duplicate and complex
keys, empty values, deep nesting, and plain scalars that readers of YAML disagree about.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from yaml import MarkedYAMLError
from yaml.cyaml import CSafeLoader
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
)

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.problem import AMBIGUOUS, Position, Problem
from authz_server.documents.scalars import Value, plain_value
from authz_server.documents.source import MAX_PROBLEMS, Source
from authz_server.documents.suggest import quoted
from authz_server.documents.syntax import syntax_problem
from authz_server.documents.tree import Document, Node

MAX_DEPTH = 32
MAX_VALUES = 100_000
"""Of one document: each may be wrong, and to say so costs more than to read it."""

_NodeEvent = ScalarEvent | CollectionStartEvent | AliasEvent
_Span = tuple[int, int]
"""As `Span`, and quicker made."""
_NODES = (ScalarEvent, CollectionStartEvent, AliasEvent)


class _StopError(Exception):
    """There is no sense in reading on."""


def compose(source: Source) -> tuple[Document | None, list[Problem]]:
    """The document of a text, an empty one being an empty mapping; None where the text cannot be read to its end."""
    composer = _Composer(source)
    try:
        root = composer.run()
    except _StopError:
        return None, composer.problems
    except MarkedYAMLError as error:
        return None, [*composer.problems, syntax_problem(source, error, composer.last)]
    return Document(root), composer.problems


class _Field(Struct):
    """The name of a field whose value comes next."""

    name: str
    span: _Span
    refused: bool


class _Composer:
    """Most of the time that many policies take is spent here: what is usual comes first, and costs few calls."""

    def __init__(self, source: Source) -> None:
        self.problems: list[Problem] = []
        self.last: ScalarEvent | None = None
        """The last scalar that was read."""
        self._source = source
        self._values = 0
        self._names: set[str] = set()
        """Names of fields that are texts, most of which come again and again."""
        self._root: Node | None = None
        self._open: list[Node] = []
        """The mappings and lists whose end has not come, innermost last."""
        self._fields: list[_Field | None] = []
        """For each of them the field whose value comes next; None where a name comes, and in lists."""

    def run(self) -> Node:
        # Any: stubs do not know that events of the parser always have their marks.
        next_event: Callable[[], Any] = CSafeLoader(self._source.text).get_event
        open_nodes, fields = self._open, self._fields
        while (event := next_event()) is not None:
            span = event.start_mark.index, event.end_mark.index
            if isinstance(event, _NODES):
                parent = open_nodes[-1] if open_nodes else None
                if parent is not None and fields[-1] is None and type(parent.value) is dict:
                    fields[-1] = self._name(event, span, parent)
                else:
                    self._value(event, span, parent)
            elif isinstance(event, CollectionEndEvent):
                fields.pop()
                _, open_nodes.pop().end = span
            elif isinstance(event, DocumentStartEvent):
                self._document(event, span)
        return self._root or Node({}, self._source, 0, 0, "block")

    def _document(self, event: DocumentStartEvent, span: _Span) -> None:
        if self._root is not None:
            message = "a second document begins here"
            self._report(span, "several_documents", message, "one file holds one document")
            raise _StopError
        if event.version or event.tags:
            message = "a line that begins with `%` has no place here"
            self._report(span, "yaml_directive", message, "remove it")

    def _name(self, event: _NodeEvent, span: _Span, parent: Node) -> _Field:
        if not isinstance(event, ScalarEvent):
            message = "the name of a field must be a text"
            self._report(span, "yaml_key", message, "put a value that begins with `{`, `[` or `*` in quotes")
            raise _StopError
        self.last = event
        name = event.value
        refused = event.anchor is not None or event.tag is not None
        if refused:
            self._report_extras(event, span)
        if name not in self._names and event.implicit[0] and not refused:
            refused = self._is_refused(name, span)
        if name in parent.children:
            refused = True
            first = parent.children[name]
            hint = f"the first is on line {self._source.position_at(first.key_start).line}"
            self._report(span, "duplicate_field", f"{quoted(name)} is given twice", hint)
        return _Field(name, span, refused)

    def _is_refused(self, name: str, span: _Span) -> bool:
        """Whether the plain name of a field is no good, which is reported; one that is will be known."""
        try:
            if name == "<<":
                code, message, hint = "yaml_merge_key", "merge keys (`<<`) have no place here", "write the fields out"
            elif isinstance(plain_value(name), str):
                self._names.add(name)
                return False
            else:
                code, message = "yaml_key", "the name of a field must be a text"
                hint = "put it in quotes" if name else "write one before the `:`"
        except InvalidValue as error:
            code, message, hint = "yaml_key", error.message, error.hint
        self._report(span, code, message, hint)
        return True

    def _value(self, event: _NodeEvent, span: _Span, parent: Node | None) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            message = f"the file has more than {MAX_VALUES:,} values"
            self._report(span, "file_too_big", message, "split it into several files")
            raise _StopError
        field = self._fields[-1] if parent is not None else None
        start, end = span
        if field is None:
            node = Node(None, self._source, start, end, "")
        else:
            node = Node(None, self._source, start, end, "", *field.span, refused=field.refused)
        if event.anchor is not None or isinstance(event, AliasEvent) or event.tag is not None:
            node.refused = True
            self._report_extras(event, span)
        if type(event) is ScalarEvent:
            self.last = event
            node.style = event.style or ""
            # A document of comments between its markers is as empty as one without them.
            says_nothing = parent is None and event.implicit[0] and not event.value
            node.value = {} if says_nothing else self._scalar(event, node)
            self._attach(node, parent, field)
        elif isinstance(event, CollectionStartEvent):
            node.style = "flow" if event.flow_style else "block"
            node.value = {} if type(event) is MappingStartEvent else []
            self._attach(node, parent, field)
            self._descend(node)
        else:
            self._attach(node, parent, field)

    def _descend(self, node: Node) -> None:
        if len(self._open) == MAX_DEPTH:
            self._report(node.span, "too_deep", f"this is nested more than {MAX_DEPTH} levels deep", "write it flatter")
            raise _StopError
        self._open.append(node)
        self._fields.append(None)

    def _attach(self, node: Node, parent: Node | None, field: _Field | None) -> None:
        if parent is None:
            self._root = node
        elif field is None:
            parent.children[len(parent.value)] = node
            parent.value.append(node.value)
        else:
            # Of a field that is given twice the first counts, so that the rest of the file can be checked.
            if field.name not in parent.children:
                parent.children[field.name] = node
                parent.value[field.name] = node.value
            self._fields[-1] = None

    def _scalar(self, event: ScalarEvent, node: Node) -> Value:
        if not event.implicit[0]:
            if "\0" in event.value:
                node.refused = True
                self._report(node.span, "forbidden_character", "a text must not hold NUL", r"remove the `\0`")
            return event.value
        try:
            value = plain_value(event.value)
        except InvalidValue as error:
            node.refused = True
            self._report(node.span, AMBIGUOUS, error.message, error.hint)
            return event.value
        if value is None and not node.refused:
            node.refused = True
            what = quoted(self._field_name()) if self._field_name() else "this"
            self._report(node.key or node.span, "empty_value", f"{what} is empty", "write its value, or remove it")
        return value

    def _field_name(self) -> str:
        field = self._fields[-1] if self._fields else None
        return field.name if field else ""

    def _report_extras(self, event: _NodeEvent, span: _Span) -> None:
        """The value carries what only YAML knows."""
        if isinstance(event, AliasEvent):
            message = f"`*{event.anchor}` is an alias, and aliases have no place here"
            self._report(span, "yaml_alias", message, "write the value out, or put it in quotes if it is a text")
            return
        if event.anchor is not None:
            self._report(span, "yaml_anchor", f"anchors (`&{event.anchor}`) have no place here", "remove it")
        if event.tag is not None:
            self._report(span, "yaml_tag", "tags (`!…`) have no place here", "remove it, or put the text in quotes")

    def _report(self, span: _Span, code: str, message: str, hint: str) -> None:
        start, end = span
        at = self._source.position_at(start)
        length = min(end - start, len(self._source.line(at.line)) - at.column + 1)
        position = Position(at.file, at.line, at.column, max(1, length))
        self.problems.append(self._source.problem(position, code, message, hint))
        if len(self.problems) == MAX_PROBLEMS:
            raise _StopError
