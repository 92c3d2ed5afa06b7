"""What GitHub Actions shows beside the lines that it is about."""

from authz_server.documents.problem import Position
from authz_server.documents.source import printable


def annotation(kind: str, position: Position, title: str, message: str) -> str:
    """One workflow command; `kind` is `error`, `warning` or `notice`."""
    place = f"file={_property(position.file)},line={position.line},col={position.column}"
    return f"::{kind} {place},title={_property(printable(title))}::{_escaped(message)}"


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
