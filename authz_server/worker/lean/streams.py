"""The calls of one connection that have begun (RFC 9113 section 5.1)."""

from msgspec import Struct

from authz_server.bounds import KIB, MIB, Bound
from authz_server.worker.lean.answers import PREFIX_BYTES
from authz_server.worker.lean.errors import ConnectionFailed, ErrorCode, NoRoom, StreamFailed
from authz_server.worker.lean.frames import STREAM_BITS
from authz_server.worker.lean.heads import Head
from authz_server.worker.limits import MAX_MESSAGE_BYTES, MAX_STREAMS

STREAM_WINDOW = MAX_MESSAGE_BYTES + PREFIX_BYTES
"""What a peer may send of one call: never more than a whole message."""
CALLS = Bound(
    "calls of a connection",
    "connection",
    entries=MAX_STREAMS,
    bytes=MAX_STREAMS * KIB // 2,
    holds="Calls that have begun and are not answered.",
    full="A call is refused (`REFUSED_STREAM`), and Envoy may make it elsewhere.",
    kept_in=("Streams.open",),
)
RESET = Bound(
    "calls given up",
    "connection",
    entries=1000,
    bytes=1000 * KIB // 8,
    holds="Calls that we have given up, and whose frames may still be under way.",
    full="The oldest is forgotten.",
    kept_in=("Streams._reset",),
)
HELD = Bound(
    "messages under way",
    "worker",
    entries=1024 * MAX_STREAMS,
    bytes=128 * MIB,
    holds="Messages and field blocks that have not come whole, on all connections.",
    full="The call, or the connection whose field block it is, ends.",
    kept_in=("Streams.parts",),
)
UNSENT = Bound(
    "answers not taken",
    "worker",
    entries=1024 * MAX_STREAMS,
    bytes=64 * MIB,
    holds="Answers for which the peer's windows have no room, on all connections.",
    full="The connection ends: its peer does not take what it asks for.",
)


class Held(Struct):
    """Counts bytes on all connections."""

    bytes: int = 0
    """What has come of messages and field blocks that are not whole."""
    unsent: int = 0
    """Answers that wait for the windows of peers."""


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
        """Keep a part of a message. Raises StreamFailed, and NoRoom where there is no place for it."""
        stream.received += len(part)
        if stream.received > STREAM_WINDOW:
            raise StreamFailed(ErrorCode.FLOW_CONTROL_ERROR, "more than the window of the stream")
        if stream.head.refusal is not None:
            return
        if stream.parts is None:
            stream.parts = bytearray()
        stream.parts += part
        self._held.bytes += len(part)
        if self._held.bytes > HELD.bytes:
            raise NoRoom(ErrorCode.ENHANCE_YOUR_CALM, "too much is under way")

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
        if len(self._reset) > RESET.entries:
            del self._reset[next(iter(self._reset))]

    def end_all(self) -> None:
        """The connection is gone."""
        for number in list(self.open):
            self.end(number)

    def _release(self, stream: Stream) -> None:
        if stream.parts is not None:
            self._held.bytes -= len(stream.parts)
            stream.parts = None
