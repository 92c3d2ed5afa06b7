"""YAML text to a tree of nodes, without what makes YAML a trap.

Refused, each with its place: anchors, aliases, tags, merge keys, directives, several documents, duplicate and complex
keys, empty values, deep nesting, and plain scalars that readers of YAML disagree about.
"""

from typing import Any, NamedTuple

from yaml import MarkedYAMLError
from yaml.cyaml import CSafeLoader
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.problem import Position, Problem
from authz_server.documents.scalars import Value, plain_value
from authz_server.documents.source import MAX_PROBLEMS, Source
from authz_server.documents.suggest import quoted
from authz_server.documents.syntax import syntax_problem
from authz_server.documents.tree import Document, Node, Span

MAX_DEPTH = 32
MAX_VALUES = 100_000
"""Of one document: each may be wrong, and to say so costs more than to read it."""

_NodeEvent = ScalarEvent | CollectionStartEvent | AliasEvent
_NODES = (ScalarEvent, CollectionStartEvent, AliasEvent)


class _StopError(Exception):
    """There is no sense in reading on."""


class _Start:
    """The beginning of a text, where an empty document stands."""

    index = line = column = 0


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


class _Field(NamedTuple):
    """The name of a field whose value comes next."""

    name: str
    span: Span
    refused: bool


class _Composer:
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
        next_event = CSafeLoader(self._source.text).get_event
        open_nodes, fields = self._open, self._fields
        while (event := next_event()) is not None:
            if isinstance(event, _NODES):
                if isinstance(event, ScalarEvent):
                    self.last = event
                parent = open_nodes[-1] if open_nodes else None
                if parent is not None and fields[-1] is None and type(parent.value) is dict:
                    fields[-1] = self._name(event, parent)
                else:
                    self._value(event, parent)
            elif isinstance(event, CollectionEndEvent):
                fields.pop()
                node = open_nodes.pop()
                node.span = Span(node.span.start, _span(event).end)
            elif isinstance(event, DocumentStartEvent):
                self._document(event)
        return self._root or Node({}, self._source, Span(_Start(), _Start()), "block", None)

    def _document(self, event: DocumentStartEvent) -> None:
        if self._root is not None:
            message = "a second document begins here"
            self._report(_span(event), "several_documents", message, "one file holds one document")
            raise _StopError
        if event.version or event.tags:
            message = "a line that begins with `%` has no place here"
            self._report(_span(event), "yaml_directive", message, "remove it")

    def _name(self, event: _NodeEvent, parent: Node) -> _Field:
        span = _span(event)
        if not isinstance(event, ScalarEvent):
            message = "the name of a field must be a text"
            self._report(span, "yaml_key", message, "put a value that begins with `{`, `[` or `*` in quotes")
            raise _StopError
        refused = self._extras(event, span)
        name = event.value
        if name == "<<" and event.implicit[0]:
            refused = True
            self._report(span, "yaml_merge_key", "merge keys (`<<`) have no place here", "write the fields out")
        elif event.implicit[0] and not refused:
            refused = not self._is_text(name, span)
        if name in parent.children:
            refused = True
            first = parent.children[name].key
            hint = f"the first is on line {first.start.line + 1}" if first else ""
            self._report(span, "duplicate_field", f"{quoted(name)} is given twice", hint)
        return _Field(name, span, refused)

    def _is_text(self, name: str, span: Span) -> bool:
        if name in self._names:
            return True
        try:
            if isinstance(plain_value(name), str):
                self._names.add(name)
                return True
            message = "the name of a field must be a text"
            hint = "put it in quotes" if name else "write one before the `:`"
        except InvalidValue as error:
            message, hint = error.message, error.hint
        self._report(span, "yaml_key", message, hint)
        return False

    def _value(self, event: _NodeEvent, parent: Node | None) -> None:
        span = _span(event)
        self._values += 1
        if self._values > MAX_VALUES:
            message = f"the file has more than {MAX_VALUES:,} values"
            self._report(span, "file_too_big", message, "split it into several files")
            raise _StopError
        field = self._fields[-1] if parent is not None else None
        node = Node(None, self._source, span, "", None if field is None else field.span)
        node.refused = self._extras(event, span) or (field is not None and field.refused)
        if type(event) is ScalarEvent:
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
            self._report(node.span, "ambiguous_value", error.message, error.hint)
            return event.value
        if value is None and not node.refused:
            node.refused = True
            what = quoted(self._field_name()) if self._field_name() else "this"
            self._report(node.key or node.span, "empty_value", f"{what} is empty", "write its value, or remove it")
        return value

    def _field_name(self) -> str:
        field = self._fields[-1] if self._fields else None
        return field.name if field else ""

    def _extras(self, event: _NodeEvent, span: Span) -> bool:
        """Whether the value carries what only YAML knows, which is reported."""
        if isinstance(event, AliasEvent):
            message = f"`*{event.anchor}` is an alias, and aliases have no place here"
            self._report(span, "yaml_alias", message, "write the value out, or put it in quotes if it is a text")
            return True
        if event.anchor is not None:
            self._report(span, "yaml_anchor", f"anchors (`&{event.anchor}`) have no place here", "remove it")
        if event.tag is not None:
            self._report(span, "yaml_tag", "tags (`!…`) have no place here", "remove it, or put the text in quotes")
        return event.anchor is not None or event.tag is not None

    def _report(self, span: Span, code: str, message: str, hint: str) -> None:
        line, column = span.start.line, span.start.column
        length = min(span.end.index - span.start.index, len(self._source.line(line + 1)) - column)
        position = Position(self._source.file, line + 1, column + 1, max(1, length))
        self.problems.append(self._source.problem(position, code, message, hint))
        if len(self.problems) == MAX_PROBLEMS:
            raise _StopError


def _span(event: Event) -> Span:
    # Events of the parser always have both.
    start: Any = event.start_mark
    end: Any = event.end_mark
    return Span(start, end)
