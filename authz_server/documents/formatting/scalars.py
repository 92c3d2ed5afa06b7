"""How a text, number or truth value is written."""

import json
import re

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.scalars import plain_value
from authz_server.documents.source import printable
from authz_server.documents.tree import Node, Span

_INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@`")
_PLAIN_BLOCK = re.compile(r"[|>]-?(?=\s)")


def name(node: Node) -> str:
    """The name of a field."""
    assert node.key is not None  # noqa: S101 - only fields have names
    written = _written(node, node.key)
    if written[:1] not in ("'", '"') or "\\" in written:
        return written
    text = written[1:-1].replace("''", "'") if written[0] == "'" else written[1:-1]
    return text_of(text, flow=True)


def is_multiline(node: Node) -> bool:
    """Whether the author broke the text into lines, which stay."""
    if node.style in ("|", ">"):
        # With a digit or `+` it depends on the lines around it what the text is.
        return _PLAIN_BLOCK.match(_written(node, node.span)) is not None
    return "\n" in _written(node, node.span)


def one_line(node: Node, *, flow: bool, quote: bool) -> str:
    """A value in one line; `flow` is between brackets or braces, `quote` asks for quotes around any text."""
    if node.style in ("|", ">"):
        return json.dumps(node.value, ensure_ascii=False)
    written = _written(node, node.span)
    if not isinstance(node.value, str) or (node.style == '"' and "\\" in written):
        return written
    return text_of(node.value, flow=flow, quote=quote)


def text_of(text: str, *, flow: bool, quote: bool = False) -> str:
    """A text in one line: plain where all readers of YAML take that for this text, else in quotes."""
    if not quote and is_plain(text, flow=flow):
        return text
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


def is_plain(text: str, *, flow: bool) -> bool:
    """Whether the text needs no quotes; SPIFFE IDs and patterns have them everywhere."""
    if not text or text != text.strip() or text[0] in _INDICATORS or text.startswith("spiffe://"):
        return False
    if ": " in text or " #" in text or text.endswith(":") or "\t" in text or printable(text) != text:
        return False
    if flow and set(text) & set(",[]{}:"):
        return False
    try:
        return plain_value(text) == text
    except InvalidValue:
        return False


def lines_of(node: Node, indent: int) -> list[str]:
    """A text of several lines: the first as it stands behind its name, the others indented by `indent`."""
    first, *rest = _written(node, node.span).split("\n")
    if node.style not in ("|", ">"):
        return [first.rstrip(), *(" " * indent + line.strip() if line.strip() else "" for line in rest)]
    header = _PLAIN_BLOCK.match(first)
    indents = [len(line) - len(line.lstrip(" ")) for line in rest if line.strip()]
    own = min(indents, default=0)
    lines = [" " * indent + line[own:] if line[own:] else "" for line in rest]
    while lines and not lines[-1]:
        lines.pop()
    return [header.group().rstrip() if header else first, *lines]


def _written(node: Node, span: Span) -> str:
    text = node.source.text[span.start : span.end]
    return text.replace("\r\n", "\n").replace("\r", "\n")
