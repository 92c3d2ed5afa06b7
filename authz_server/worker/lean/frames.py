"""Frames of HTTP/2 (RFC 9113 sections 4 and 6) as bytes."""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from struct import Struct

from authz_server.worker.lean.errors import ConnectionFailed, ErrorCode

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 section 3.4)."""
HEADER_BYTES = 9
MAX_PAYLOAD_BYTES = 16_384
"""The largest payload that a peer may send, and the least that each must take (RFC 9113 section 4.2)."""
LARGEST_WINDOW = 2**31 - 1
"""Section 6.9.1."""
STREAM_BITS = 2**31 - 1
"""A stream's number without the reserved bit."""

read_header = Struct(">HBBBL").unpack_from
"""Of a frame: the upper 16 and the lower 8 bits of its length, type, flags, stream with the reserved bit."""
_write_header = Struct(">HBBBL").pack
_SETTING = Struct(">HL")
_PRIORITY_BYTES = 5


class FrameType(IntEnum):
    """Section 6."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


# Plain numbers: an operation on members of an enumeration of flags costs more than everything else about a frame.
ACK = 0x1
END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20


class Setting(IntEnum):
    """Section 6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


def frame(kind: FrameType, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    length = len(payload)
    return _write_header(length >> 8, length & 0xFF, kind, flags, stream) + payload


def settings(values: Iterable[tuple[Setting, int]]) -> bytes:
    """A SETTINGS frame."""
    return frame(FrameType.SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """A RST_STREAM frame."""
    return frame(FrameType.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last_stream: int, code: ErrorCode, why: str = "") -> bytes:
    """A GOAWAY frame; `why` is for people."""
    return frame(FrameType.GOAWAY, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + why.encode("ascii"))


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Names and values of a SETTINGS frame, those that nobody knows included. Raises ConnectionFailed."""
    if len(payload) % _SETTING.size:
        raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of an odd length")
    for name, value in _SETTING.iter_unpack(payload):
        _check_setting(name, value)
        yield name, value


def _check_setting(name: int, value: int) -> None:
    if name == Setting.ENABLE_PUSH and value > 1:
        raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
    if name == Setting.INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
        raise ConnectionFailed(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
    if name == Setting.MAX_FRAME_SIZE and not MAX_PAYLOAD_BYTES <= value < 2**24:
        raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of range")


def content(flags: int, payload: bytes) -> bytes:
    """The payload of a DATA or HEADERS frame without padding and priority. Raises ConnectionFailed."""
    if not flags & (PADDED | PRIORITY):
        return payload
    start = (1 if flags & PADDED else 0) + (_PRIORITY_BYTES if flags & PRIORITY else 0)
    if start > len(payload):
        raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "a frame has not the fields that its flags speak of")
    end = len(payload) - (payload[0] if flags & PADDED else 0)
    if start > end:
        raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "padding is longer than the frame")
    return payload[start:end]


def need_connection(stream: int) -> None:
    """Raises ConnectionFailed where a frame that is of the connection names a stream."""
    if stream != 0:
        raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "a frame of the connection names a stream")


def need_size(payload: bytes, size: int) -> None:
    """Raises ConnectionFailed where a payload has another size than those of its type."""
    if len(payload) != size:
        raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "a frame has not the length of its type")
