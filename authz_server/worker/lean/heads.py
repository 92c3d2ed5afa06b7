"""The head of a call: what its fields ask for, and what is wrong with them (RFC 9113 section 8, gRPC over HTTP/2)."""

import re
from collections.abc import Iterable

from msgspec import Struct

from authz_server.errors import GrpcCode
from authz_server.worker.lean.answers import Answer, http_answer, status_answer
from authz_server.worker.lean.errors import ErrorCode, StreamFailed

_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
# Spaces around a value are let through, against RFC 9113 section 8.2.1: Envoy sends a client's `tracestate` along as it
# is, and no client may choose an RPC error, which may pass.
_VALUE = re.compile(rb"[^\0\r\n]*")
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_LENGTH = re.compile(rb"[0-9]{1,18}")
_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path"))
_NEEDED = (b":method", b":scheme", b":path")
_OF_CONNECTIONS = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
"""Fields of one connection, which have no place in HTTP/2 (section 8.2.2)."""
READ = frozenset(
    (*_PSEUDO, *_OF_CONNECTIONS, b"te", b"content-type", b"content-length", b"grpc-encoding", b"grpc-timeout")
)
"""The names of fields whose values count; of all others any value will do."""
_CONTENT_TYPE = re.compile(rb"application/grpc(\+proto)?(;.*)?", re.DOTALL)

_NOT_GRPC = http_answer(415, "This address answers gRPC calls only.\n")
_NOT_POST = http_answer(405, "gRPC calls are POST requests.\n")
_COMPRESSED = status_answer(
    GrpcCode.UNIMPLEMENTED, "messages must not be compressed", (("grpc-accept-encoding", "identity"),)
)
_BAD_TIMEOUT = status_answer(GrpcCode.INTERNAL, "grpc-timeout is malformed")


class Head(Struct, frozen=True):
    """What the fields of a call say."""

    path: str
    timeout_s: float | None = None
    content_length: int | None = None
    refusal: Answer | None = None
    """The answer to a call that can have no other."""


def read_head(fields: Iterable[tuple[bytes, bytes]]) -> Head:
    """The head of these fields. Raises StreamFailed where they are malformed."""
    found = checked_fields(fields)
    for name in _NEEDED:
        if not found.get(name):
            raise _malformed("a pseudo-header field is missing or empty")
    path = found[b":path"]
    if not path.startswith(b"/") and path != b"*":
        raise _malformed("`:path` is no path")
    timeout = found.get(b"grpc-timeout")
    seconds = None if timeout is None else _seconds(timeout)
    return Head(
        path=path.decode("latin-1"),
        timeout_s=seconds,
        content_length=_content_length(found.get(b"content-length")),
        refusal=_refusal(found, timeout, seconds),
    )


def checked_fields(fields: Iterable[tuple[bytes, bytes]], *, trailers: bool = False) -> dict[bytes, bytes]:
    """The fields by their names, the last of several. Raises StreamFailed where one must not be there."""
    found: dict[bytes, bytes] = {}
    regular = trailers
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _malformed("a field's name or value has bytes that it must not have")
        if name[0] == 0x3A:
            if regular or name in found or name not in _PSEUDO:
                raise _malformed("a pseudo-header field is unknown, out of place or repeated")
        else:
            regular = True
            if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
                raise _malformed("a field of one connection alone")
            if name == b"content-length" and found.get(name, value) != value:
                raise _malformed("two lengths")
        found[name] = value
    return found


def _refusal(found: dict[bytes, bytes], timeout: bytes | None, seconds: float | None) -> Answer | None:
    if found[b":method"] != b"POST":
        return _NOT_POST
    if not _CONTENT_TYPE.fullmatch(found.get(b"content-type", b"")):
        return _NOT_GRPC
    if found.get(b"grpc-encoding", b"identity") != b"identity":
        return _COMPRESSED
    return _BAD_TIMEOUT if timeout is not None and seconds is None else None


def _seconds(timeout: bytes) -> float | None:
    match = _TIMEOUT.fullmatch(timeout)
    return None if match is None else int(match[1]) * _SECONDS[match[2]]


def _content_length(text: bytes | None) -> int | None:
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        raise _malformed("`content-length` is no length")
    return int(text)


def _malformed(why: str) -> StreamFailed:
    """Section 8.1.1."""
    return StreamFailed(ErrorCode.PROTOCOL_ERROR, why)
