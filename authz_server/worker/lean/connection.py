"""One connection of HTTP/2 as a server sees it: bytes in, calls out, frames back. It opens no socket."""

import time
from collections.abc import Callable

from authz_server.worker.lean.allowance import Allowance
from authz_server.worker.lean.answers import PREFIX_BYTES, Answer
from authz_server.worker.lean.errors import ConnectionFailed, ErrorCode, NoRoom, StreamFailed
from authz_server.worker.lean.farewell import Farewell
from authz_server.worker.lean.field_blocks import FieldBlocks, KnownBlocks
from authz_server.worker.lean.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEADER_BYTES,
    LARGEST_WINDOW,
    MAX_PAYLOAD_BYTES,
    PADDED,
    PREFACE,
    STREAM_BITS,
    FrameType,
    Setting,
    content,
    frame,
    goaway,
    need_connection,
    need_size,
    read_header,
    read_settings,
    rst_stream,
    settings,
    window_update,
)
from authz_server.worker.lean.heads import Head, checked_fields
from authz_server.worker.lean.outgoing import DEFAULT_WINDOW, Outgoing
from authz_server.worker.lean.streams import HELD, STREAM_WINDOW, Held, Stream, Streams
from authz_server.worker.lean.unary import NO_ROOM, TOO_LARGE, declared_bytes, wrong
from authz_server.worker.limits import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, MAX_STREAMS

CONNECTION_WINDOW = 32 * 1024 * 1024

Take = Callable[[int, Head, bytes], bytes | Answer | None]
"""Takes a call: its stream, head and message. Gives the answer, or None where `answer` is called later."""
TurnAway = Callable[[Head], bytes | Answer]
"""Gives the answer to a call for which there is no room."""

_SETTINGS_ACK = frame(FrameType.SETTINGS, ACK, 0)


class Connection:
    """What has come, what is due, and what is to be sent (`outgoing.frames`)."""

    def __init__(
        self,
        take: Take,
        known_blocks: KnownBlocks,
        held: Held,
        clock: Callable[[], float] = time.monotonic,
        table_bytes: int = 0,
        turn_away: TurnAway = lambda _: NO_ROOM,
    ) -> None:
        """`clock` gives seconds; `table_bytes` is the place that the peer may give the table of fields."""
        self.outgoing = Outgoing(held)
        self.outgoing.frames.append(_greeting(table_bytes))
        self.greeted = False
        """The peer has said that it speaks HTTP/2."""
        self.failed: ConnectionFailed | None = None
        """Why the connection ends as soon as everything is sent."""
        self._take = take
        self._turn_away = turn_away
        self._blocks = FieldBlocks(known_blocks, table_bytes)
        self._held = held
        self._streams = Streams(held)
        self._allowance = Allowance(clock)
        self._rest = b""
        self._window = CONNECTION_WINDOW
        self._settled = False
        self._limits_known = False
        """The peer has acknowledged ours, and must keep them."""
        self._farewell = Farewell()
        self._continued: tuple[int, int, bytearray] | None = None
        """Stream, flags and what has come of a field block that goes on in CONTINUATION frames."""
        self._actions = (
            self._data,
            self._headers,
            self._priority,
            self._rst_stream,
            self._on_settings,
            self._push_promise,
            self._ping,
            self._goaway,
            self._window_update,
            self._continuation,
        )

    @property
    def idle(self) -> bool:
        """No call is under way."""
        return not self._streams.open

    @property
    def drained(self) -> bool:
        """No call is under way, and none comes."""
        return self.idle and (self._farewell.last is not None or self.failed is not None)

    def receive(self, data: bytes) -> None:
        """Act on what the peer has sent; the answers are in `outgoing`."""
        if self.failed is not None:
            return
        buffer = self._rest + data if self._rest else data
        try:
            self._rest = buffer[self._consume(buffer) :]
        except ConnectionFailed as failure:
            self._fail(failure)

    def awaits(self, stream: int) -> bool:
        """Whether the peer waits for the answer to this call."""
        return stream in self._streams.open

    def answer(self, stream: int, answer: bytes | Answer) -> None:
        """Answer a call for which `take` has given None; one that is gone needs no answer."""
        if self.failed is not None or stream not in self._streams.open:
            return
        try:
            if self._send(stream, answer):
                self._streams.end(stream)
        except ConnectionFailed as failure:
            self._fail(failure)

    def drain(self) -> None:
        """Take the calls that are on their way, and no more; the peer makes others elsewhere."""
        if self.failed is None:
            self.outgoing.frames += self._farewell.begin()

    def take_no_more(self) -> None:
        """Take no more calls, whether the peer has heard of it or not."""
        if self.failed is None:
            self.outgoing.frames += self._farewell.end(self._streams.last)

    def close(self) -> None:
        """The connection is gone: forget what has come."""
        self._drop_block()
        self._streams.end_all()
        self.outgoing.forget_all()

    def _consume(self, buffer: bytes) -> int:
        """Act on all whole frames; returns where the rest begins. Raises ConnectionFailed."""
        at = 0 if self.greeted else self._greet(buffer)
        end = len(buffer)
        actions = self._actions
        while self.greeted and end - at >= HEADER_BYTES:
            upper, lower, kind, flags, stream = read_header(buffer, at)
            length = upper << 8 | lower
            if length > MAX_PAYLOAD_BYTES:
                raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "a frame is larger than 16384 bytes")
            start = at + HEADER_BYTES
            if end - start < length:
                break
            at = start + length
            if (self._continued is None) is (kind == FrameType.CONTINUATION):
                raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "a field block is not told in one piece")
            if not self._settled:
                self._settle(kind, flags)
            if kind >= len(actions):
                self._allowance.spend()
                continue
            stream &= STREAM_BITS
            try:
                actions[kind](stream, flags, buffer[start:at])
            except NoRoom as failure:
                self._deny(stream, failure.code)
            except StreamFailed as failure:
                self._reset(stream, failure.code)
        return at

    def _greet(self, buffer: bytes) -> int:
        if not PREFACE.startswith(buffer[: len(PREFACE)]):
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "this is no HTTP/2")
        if len(buffer) < len(PREFACE):
            return 0
        self.greeted = True
        return len(PREFACE)

    def _settle(self, kind: int, flags: int) -> None:
        if kind != FrameType.SETTINGS or flags & ACK:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "the first frame is SETTINGS")
        self._settled = True

    def _fail(self, failure: ConnectionFailed) -> None:
        self.failed = failure
        self._rest = b""
        last = self._streams.last if self._farewell.last is None else self._farewell.last
        self.outgoing.frames.append(goaway(last, failure.code, failure.why))
        self.close()

    def _reset(self, stream: int, code: ErrorCode) -> None:
        self._allowance.spend()
        self._streams.reset(stream)
        self.outgoing.forget(stream)
        self.outgoing.frames.append(rst_stream(stream, code))

    def _deny(self, number: int, otherwise: ErrorCode) -> None:
        """Answer a call that has not come whole, and reset it (RFC 9113 section 8.1), so that it is no RPC error.

        Where the peer's windows do not let the answer out at once, the call is reset with the code instead.
        """
        head = self._streams.open[number].head
        answered = self._send(number, head.refusal or self._turn_away(head))
        self._reset(number, ErrorCode.NO_ERROR if answered else otherwise)

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._window -= size
        if self._window < 0:
            raise ConnectionFailed(ErrorCode.FLOW_CONTROL_ERROR, "more than the window of the connection")
        if self._window < CONNECTION_WINDOW // 2:
            self.outgoing.frames.append(window_update(0, CONNECTION_WINDOW - self._window))
            self._window = CONNECTION_WINDOW
        if flags & PADDED:
            # First: padding that is wrong ends the connection, whatever stream it is of.
            payload = content(flags & PADDED, payload)
        stream = self._streams.receiving(number)
        if flags & PADDED and stream is not None and not flags & END_STREAM:
            self.outgoing.frames.append(window_update(number, size - len(payload)))
        if stream is None:
            self._allowance.spend()
        elif flags & END_STREAM:
            self._end(number, stream, self._streams.message(stream, payload))
        else:
            self._part(number, stream, payload)

    def _part(self, number: int, stream: Stream, payload: bytes) -> None:
        if not payload:
            self._allowance.spend()
            return
        if stream.received < PREFIX_BYTES and declared_bytes(stream, payload) > MAX_MESSAGE_BYTES:
            self.outgoing.answer(number, TOO_LARGE)
            raise StreamFailed(ErrorCode.NO_ERROR, "the message is too large")
        self._streams.hold(stream, payload)

    def _headers(self, number: int, flags: int, payload: bytes) -> None:
        if number == 0:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "HEADERS of the connection")
        block = content(flags, payload)
        if flags & END_HEADERS:
            self._block(number, flags, block)
        else:
            self._continued = (number, flags, bytearray())
            self._add_to_block(block)

    def _continuation(self, number: int, flags: int, payload: bytes) -> None:
        assert self._continued is not None  # noqa: S101  # `_consume` has seen to it
        begun, first_flags, block = self._continued
        if number != begun:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of another stream")
        if len(payload) < MAX_PAYLOAD_BYTES // 2:
            self._allowance.spend()
        self._add_to_block(payload)
        if flags & END_HEADERS:
            self._drop_block()
            self._block(number, first_flags, bytes(block))

    def _add_to_block(self, payload: bytes) -> None:
        assert self._continued is not None  # noqa: S101  # the callers have seen to it
        block = self._continued[2]
        block += payload
        self._held.bytes += len(payload)
        if len(block) > MAX_METADATA_BYTES or self._held.bytes > HELD.bytes:
            raise ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, "a field block is too large")

    def _drop_block(self) -> None:
        if self._continued is not None:
            self._held.bytes -= len(self._continued[2])
            self._continued = None

    def _block(self, number: int, flags: int, block: bytes) -> None:
        """A whole field block, which must be decoded whatever becomes of its stream."""
        if number <= self._streams.last:
            self._trailers(number, flags, block)
            return
        self._streams.begin(number)
        head = self._blocks.head(block)
        full = len(self._streams.open) >= MAX_STREAMS
        if self._farewell.last is not None or (full and self._limits_known):
            raise StreamFailed(ErrorCode.REFUSED_STREAM, "no more calls")
        stream = Stream(head)
        self._streams.open[number] = stream
        if full:
            raise NoRoom(ErrorCode.REFUSED_STREAM, "more calls than the peer will be allowed to make")
        if flags & END_STREAM:
            self._end(number, stream, b"")

    def _trailers(self, number: int, flags: int, block: bytes) -> None:
        fields = self._blocks.fields(block)
        stream = self._streams.receiving(number)
        if stream is None:
            self._allowance.spend()
            return
        checked_fields(fields, trailers=True)
        if not flags & END_STREAM:
            raise StreamFailed(ErrorCode.PROTOCOL_ERROR, "trailers end a call")
        self._end(number, stream, self._streams.message(stream, b""))

    def _end(self, number: int, stream: Stream, framed: bytes) -> None:
        """The peer has said all of a call."""
        head = stream.head
        if head.content_length is not None and head.content_length != stream.received:
            raise StreamFailed(ErrorCode.PROTOCOL_ERROR, "`content-length` is not the length of the content")
        stream.ended = True
        self._allowance.earn()
        answer: Answer | bytes | None = head.refusal or wrong(framed)
        if answer is None:
            answer = self._take(number, head, framed[PREFIX_BYTES:])
        if answer is not None and self._send(number, answer):
            self._streams.end(number)

    def _send(self, number: int, answer: bytes | Answer) -> bool:
        """Whether all of it is on its way."""
        if isinstance(answer, bytes):
            return self.outgoing.message(number, answer)
        return self.outgoing.answer(number, answer)

    def _priority(self, number: int, _flags: int, payload: bytes) -> None:
        self._allowance.spend()
        if number == 0:
            raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "PRIORITY of the connection")
        # No stream error: RST_STREAM must not name a stream that nobody has opened.
        need_size(payload, 5)

    def _rst_stream(self, number: int, _flags: int, payload: bytes) -> None:
        self._allowance.spend()
        need_size(payload, 4)
        self._streams.known(number)
        self._streams.end(number)
        self.outgoing.forget(number)

    def _on_settings(self, number: int, flags: int, payload: bytes) -> None:
        self._allowance.spend()
        need_connection(number)
        if flags & ACK:
            need_size(payload, 0)
            self._limits_known = True
            self._blocks.acknowledged()
            return
        windows = [value for name, value in read_settings(payload) if name == Setting.INITIAL_WINDOW_SIZE]
        self.outgoing.frames.append(_SETTINGS_ACK)
        if windows:
            # Nothing is sent between the values of one frame (RFC 9113 section 6.5.3): the last one counts.
            self._ended(self.outgoing.resize(windows[-1]))

    def _push_promise(self, _number: int, _flags: int, _payload: bytes) -> None:
        raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "clients push nothing")

    def _ping(self, number: int, flags: int, payload: bytes) -> None:
        self._allowance.spend()
        need_connection(number)
        need_size(payload, 8)
        if not flags & ACK:
            self.outgoing.frames.append(frame(FrameType.PING, ACK, 0, payload))
        elif self._farewell.is_heard(payload):
            self.take_no_more()

    def _goaway(self, number: int, _flags: int, payload: bytes) -> None:
        """The peer takes no more streams of ours, of which there are none; it closes when it has its answers."""
        self._allowance.spend()
        need_connection(number)
        if len(payload) < 8:
            raise ConnectionFailed(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY has a stream and a code")

    def _window_update(self, number: int, _flags: int, payload: bytes) -> None:
        self._allowance.spend()
        need_size(payload, 4)
        increment = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if number == 0:
            if increment == 0:
                raise ConnectionFailed(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
            self._ended(self.outgoing.widen(increment))
            return
        self._streams.known(number)
        if number not in self._streams.open:
            return
        if increment == 0:
            raise StreamFailed(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
        if self.outgoing.widen_stream(number, increment):
            self._streams.end(number)

    def _ended(self, streams: list[int]) -> None:
        for number in streams:
            self._streams.end(number)


def _greeting(table_bytes: int) -> bytes:
    values = (
        (Setting.HEADER_TABLE_SIZE, table_bytes),
        (Setting.MAX_CONCURRENT_STREAMS, MAX_STREAMS),
        (Setting.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
        (Setting.MAX_HEADER_LIST_SIZE, MAX_METADATA_BYTES),
    )
    return settings(values) + window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)
