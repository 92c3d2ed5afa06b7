"""The calls of one connection that have begun (RFC 9113 section 5.1)."""

from msgspec import Struct

from authz_server.worker.lean.answers import PREFIX_BYTES
from authz_server.worker.lean.errors import ConnectionFailed, ErrorCode, StreamFailed
from authz_server.worker.lean.frames import STREAM_BITS
from authz_server.worker.lean.heads import Head
from authz_server.worker.limits import MAX_MESSAGE_BYTES

STREAM_WINDOW = MAX_MESSAGE_BYTES + PREFIX_BYTES
"""What a peer may send of one call: never more than a whole message."""
MAX_HELD_BYTES = 128 * 1024 * 1024
"""Of messages and field blocks that have not come whole yet, on all connections."""

_MAX_RESET = 1000


class Held(Struct):
    """Counts what has come of messages and field blocks that are not whole, on all connections."""

    bytes: int = 0


class Stream:
    """A call that has begun."""

    __slots__ = ("ended", "head", "parts", "received", "room")

    def __init__(self, head: Head) -> None:
        self.head = head
        self.parts: bytearray | None = None
        """What has come of a message that is not whole: one buffer, however small its pieces are."""
        self.received = 0
        """Bytes of the message and its prefix that have come."""
        self.ended = False
        """The peer has said all; the answer is due."""


class Streams:
    """Begins and ends calls; remembers what the peer may still be sending to."""

    def __init__(self, held: Held) -> None:
        self.open: dict[int, Stream] = {}
        self.last = 0
        """The highest number that the peer has used."""
        self._held = held
        self._reset: dict[int, None] = {}

    def begin(self, number: int) -> None:
        """The peer opens a stream. Raises ConnectionFailed."""
        if number <= self.last:
            raise ConnectionFailed(ErrorCode.STREAM_CLOSED, "the stream is closed")
        if not number & 1:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "clients open streams of odd numbers")
        self.last = number

    def receiving(self, number: int) -> Stream | None:
        """The stream that a frame of a call belongs to; None where frames may still be under way to it.

        Raises ConnectionFailed, and StreamFailed where the peer has said that nothing more would come.
        """
        stream = self.open.get(number)
        if stream is None:
            if number in self._reset:
                return None
            self.known(number)
            raise ConnectionFailed(ErrorCode.STREAM_CLOSED, "the stream is closed")
        if stream.ended:
            raise StreamFailed(ErrorCode.STREAM_CLOSED, "the peer has ended the stream")
        return stream

    def known(self, number: int) -> None:
        """Check that the stream has been opened at some time. Raises ConnectionFailed."""
        if number == 0 or number > self.last or not number & 1:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "a frame of a stream that was never opened")

    def hold(self, stream: Stream, part: bytes) -> None:
        """Keep a part of a message. Raises StreamFailed where there is no place for it."""
        stream.received += len(part)
        if stream.received > STREAM_WINDOW:
            raise StreamFailed(ErrorCode.FLOW_CONTROL_ERROR, "more than the window of the stream")
        if stream.head.refusal is not None:
            return
        if stream.parts is None:
            stream.parts = bytearray()
        stream.parts += part
        self._held.bytes += len(part)
        if self._held.bytes > MAX_HELD_BYTES:
            raise StreamFailed(ErrorCode.ENHANCE_YOUR_CALM, "too much is under way")

    def message(self, stream: Stream, last_part: bytes) -> bytes:
        """All that has come of a message, with its prefix. Raises StreamFailed."""
        if stream.parts is None:
            stream.received += len(last_part)
            return last_part
        self.hold(stream, last_part)
        whole = bytes(stream.parts)
        self._release(stream)
        return whole

    def end(self, number: int) -> None:
        """The stream is done, or the peer has given it up."""
        stream = self.open.pop(number, None)
        if stream is not None:
            self._release(stream)

    def reset(self, number: int) -> None:
        """We give it up: what the peer has sent meanwhile is no error."""
        self.end(number)
        self._reset[number & STREAM_BITS] = None
        if len(self._reset) > _MAX_RESET:
            del self._reset[next(iter(self._reset))]

    def end_all(self) -> None:
        """The connection is gone."""
        for number in list(self.open):
            self.end(number)

    def _release(self, stream: Stream) -> None:
        if stream.parts is not None:
            self._held.bytes -= len(stream.parts)
            stream.parts = None
