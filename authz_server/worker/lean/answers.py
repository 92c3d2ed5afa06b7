"""Answers to calls as frames (gRPC over HTTP/2, "Responses"). Fields are written without a table, and as they are."""

from collections.abc import Iterable
from struct import Struct as Layout
from urllib.parse import quote

from msgspec import Struct

from authz_server.errors import GrpcCode
from authz_server.worker.lean.frames import END_HEADERS, END_STREAM, MAX_PAYLOAD_BYTES, FrameType

PREFIX_BYTES = 5
"""Before a message: whether it is compressed, and its length in 4 bytes."""

_LONGEST_TEXT = 126
_STATUS_200 = b"\x88"
_GRPC_MESSAGE_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class Answer(Struct, frozen=True):
    """An answer to any stream."""

    fields: bytes
    body: bytes = b""
    """What DATA frames carry: a message behind its prefix, or text."""
    trailers: bytes = b""
    """Empty: there are none."""


def message_answer(message: bytes) -> Answer:
    """A message, and OK."""
    return Answer(_MESSAGE_FIELDS, b"\0" + len(message).to_bytes(PREFIX_BYTES - 1, "big") + message, _OK)


def status_answer(code: GrpcCode, details: str, more: Iterable[tuple[str, str]] = ()) -> Answer:
    """A status without a message; `details` are for people."""
    status = (
        ("grpc-status", str(int(code))),
        ("grpc-message", quote(details, safe=_GRPC_MESSAGE_SAFE)[:_LONGEST_TEXT]),
    )
    return Answer(_MESSAGE_FIELDS + _literals((*status, *more)))


def http_answer(status: int, text: str) -> Answer:
    """The answer to what is no gRPC call."""
    return Answer(_literals(((":status", str(status)), ("content-type", "text/plain; charset=utf-8"))), text.encode())


def whole_message(stream: int, message: bytes) -> bytes:
    """All frames of `message_answer`, for a message that fits into one frame."""
    length = PREFIX_BYTES + len(message)
    return b"".join(
        (
            _BEFORE_MESSAGE(*_FIELDS_HEADER, stream, _MESSAGE_FIELDS, length >> 8, length & 0xFF, 0, 0, stream),
            _write_prefix(0, len(message)),
            message,
            _AFTER_MESSAGE(*_TRAILERS_HEADER, stream, _OK),
        )
    )


def _literals(fields: Iterable[tuple[str, str]]) -> bytes:
    """Literal fields without indexing (RFC 7541 section 6.2.2), each shorter than 127 bytes."""
    return b"".join(
        b"\0" + len(name).to_bytes(1, "big") + name.encode() + len(value).to_bytes(1, "big") + value.encode()
        for name, value in fields
    )


_MESSAGE_FIELDS = _STATUS_200 + _literals((("content-type", "application/grpc"),))
_OK = _literals((("grpc-status", "0"),))
_FIELDS_HEADER = (0, len(_MESSAGE_FIELDS), FrameType.HEADERS, END_HEADERS)
_TRAILERS_HEADER = (0, len(_OK), FrameType.HEADERS, END_HEADERS | END_STREAM)
_BEFORE_MESSAGE = Layout(f">HBBBL{len(_MESSAGE_FIELDS)}sHBBBL").pack
_AFTER_MESSAGE = Layout(f">HBBBL{len(_OK)}s").pack
_write_prefix = Layout(">BL").pack

LARGEST_WHOLE_MESSAGE = MAX_PAYLOAD_BYTES - PREFIX_BYTES
"""What fits into one DATA frame that every peer takes."""
