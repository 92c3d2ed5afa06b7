"""A client on the level of bytes: what it says to a connection, and what it hears. It can say anything."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from hpack import Decoder

from authz_server.worker.lean.answers import Answer
from authz_server.worker.lean.connection import Connection
from authz_server.worker.lean.errors import ErrorCode
from authz_server.worker.lean.field_blocks import KnownBlocks
from authz_server.worker.lean.frames import ACK, END_HEADERS, END_STREAM, PREFACE, FrameType, frame, settings
from authz_server.worker.lean.heads import Head
from authz_server.worker.lean.streams import Held

Field = tuple[bytes, bytes]
FIELDS: tuple[Field, ...] = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.Service/Method"),
    (b":authority", b"authz"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
)
SETTINGS_ACK = frame(FrameType.SETTINGS, ACK, 0)
NO_TABLE = b"\x20"
LARGEST_PIECE = 16_384


class Frame(NamedTuple):
    """A frame that the server has sent."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def fields(self) -> dict[str, str]:
        """The fields of HEADERS."""
        return {bytes(name).decode(): bytes(value).decode() for name, value in Decoder().decode(self.payload, raw=True)}

    @property
    def number(self) -> int:
        """The number that RST_STREAM, WINDOW_UPDATE and, at its end, GOAWAY have."""
        return int.from_bytes(self.payload[4:8] if self.kind == FrameType.GOAWAY else self.payload, "big")


class Failure(NamedTuple):
    """What the server has found wrong, and with which stream; 0 is the connection."""

    stream: int
    code: ErrorCode


def read_frames(data: bytes) -> Iterator[Frame]:
    """All frames of what the server has sent; there is nothing beside them."""
    at = 0
    while at < len(data):
        assert len(data) - at >= 9
        length = int.from_bytes(data[at : at + 3], "big")
        assert length <= LARGEST_PIECE
        assert len(data) - at - 9 >= length
        start = at + 9
        yield Frame(
            data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : start], "big"), data[start : start + length]
        )
        at = start + length


def integer(value: int, prefix_bits: int, first: int = 0) -> bytes:
    """An integer of RFC 7541 section 5.1, whose first byte has `first` above the prefix."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes((first | value,))
    result, value = [first | most], value - most
    while value >= 128:
        result.append(value & 127 | 128)
        value >>= 7
    return bytes((*result, value))


def text(value: bytes) -> bytes:
    """A string as it is."""
    return integer(len(value), 7) + value


def literals(fields: Iterable[Field], first: bytes = b"\0") -> bytes:
    """Fields that need no table; `first` is 0x40 for those that get a place in it."""
    return b"".join(first + text(name) + text(value) for name, value in fields)


def with_fields(*changes: Field, without: Iterable[bytes] = ()) -> bytes:
    """A field block with these fields in place of those that a good call has, or beside them."""
    gone = {name for name, _ in changes} | set(without)
    kept = [field for field in FIELDS if field[0] not in gone]
    pseudo = [field for field in (*kept, *changes) if field[0].startswith(b":")]
    return literals((*pseudo, *(field for field in (*kept, *changes) if not field[0].startswith(b":"))))


GOOD = literals(FIELDS)
FIRST = NO_TABLE + GOOD
"""The first block after the server's table size of 0: it says so."""


def headers(stream: int, block: bytes = GOOD, flags: int = END_HEADERS) -> bytes:
    """A HEADERS frame, and CONTINUATION frames where the block is long."""
    pieces = [block[at : at + LARGEST_PIECE] for at in range(0, len(block), LARGEST_PIECE)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        frame(
            FrameType.CONTINUATION if number else FrameType.HEADERS,
            (0 if number else flags & ~END_HEADERS) | (flags & END_HEADERS if number == last else 0),
            stream,
            piece,
        )
        for number, piece in enumerate(pieces)
    )


def data(stream: int, payload: bytes, flags: int = END_STREAM) -> bytes:
    """A DATA frame."""
    return frame(FrameType.DATA, flags, stream, payload)


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def rst_stream(stream: int, code: int = 8) -> bytes:
    """A RST_STREAM frame; 8 says that the call is cancelled."""
    return frame(FrameType.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def framed(message: bytes) -> bytes:
    """A message behind its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def pieces_of(stream: int, content: bytes, size: int = LARGEST_PIECE) -> bytes:
    """DATA frames, the last of which ends the call."""
    return b"".join(
        data(stream, content[at : at + size], END_STREAM if at + size >= len(content) else 0)
        for at in range(0, len(content), size)
    )


def call(stream: int, message: bytes = b"x", block: bytes = GOOD) -> bytes:
    """A whole call."""
    return headers(stream, block) + pieces_of(stream, framed(message))


def echo(_stream: int, _head: Head, message: bytes) -> bytes:
    """Answer with the request."""
    return message


def later(_stream: int, _head: Head, _message: bytes) -> None:
    """Answer at some other time."""


class Talk:
    """A connection, and all that it has been told."""

    def __init__(
        self,
        take: Callable[[int, Head, bytes], bytes | Answer | None] = echo,
        *,
        known: KnownBlocks | None = None,
        held: Held | None = None,
        clock: Callable[[], float] = time.monotonic,
        greet: bool = True,
        first: Iterable[tuple[int, int]] = (),
    ) -> None:
        self.calls: list[tuple[int, Head, bytes]] = []
        self.held = held or Held()
        self._take = take
        self.connection = Connection(
            self._note, known or KnownBlocks(), self.held, clock, turn_away=lambda _: b"no room"
        )
        self.greeting = self.heard()
        if greet:
            values = b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in first)
            self.say(PREFACE, frame(FrameType.SETTINGS, 0, 0, values) if values else settings(()), SETTINGS_ACK)

    def _note(self, stream: int, head: Head, message: bytes) -> bytes | Answer | None:
        self.calls.append((stream, head, message))
        return self._take(stream, head, message)

    def heard(self) -> list[Frame]:
        """What the server has sent since the last time."""
        frames = self.connection.outgoing.frames
        result = list(read_frames(b"".join(frames)))
        frames.clear()
        return result

    def say(self, *frames: bytes) -> list[Frame]:
        """Send, and hear what comes back."""
        self.connection.receive(b"".join(frames))
        return self.heard()


def failure(frames: Iterable[Frame]) -> Failure | None:
    """The one that is told; None without one."""
    found = [
        Failure(one.stream, ErrorCode(one.number))
        for one in frames
        if one.kind in (FrameType.RST_STREAM, FrameType.GOAWAY)
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def content(frames: Iterable[Frame], stream: int) -> bytes:
    """All that has come of an answer's body."""
    return b"".join(one.payload for one in frames if one.kind == FrameType.DATA and one.stream == stream)


def status(frames: Iterable[Frame], stream: int = 1) -> str:
    """The status of gRPC, or that of HTTP where there is none."""
    fields: dict[str, str] = {}
    for one in frames:
        if one.kind == FrameType.HEADERS and one.stream == stream:
            fields |= one.fields
    return fields.get("grpc-status") or f"HTTP {fields[':status']}"
