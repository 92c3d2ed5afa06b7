"""One connection of a client that makes many calls at once. It knows no more of HTTP/2 (RFC 9113) than this takes."""

import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from struct import Struct as Layout
from typing import Literal, NamedTuple

from msgspec import Struct

from authz_server.errors import OUTCOMES, Reason
from benchmarks.errors import CannotMeasure
from benchmarks.payload import framed
from benchmarks.rotation import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    GOAWAY,
    HEADERS,
    LARGE_WINDOW,
    NO_TABLE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    header_block,
)

TIMEOUT_S = 0.2
"""What Envoy gives a check by default."""

_TIMEOUT = "200m"
_MOST_STREAMS = 1_000
_MOST_UNSENT_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_PATIENCE_S = 10.0
_CANCEL = (8).to_bytes(4, "big")
_HEAD_BYTES = 9
_PREFIX_BYTES = 5
_read_head = Layout(">HBBBL").unpack_from
_number = Layout(">L").pack
_DENIED = b"\x0a\x02\x08"
"""How an answer begins whose status has a code; to Envoy every other one allows."""
_FAILURE = int(OUTCOMES[Reason.OVERLOADED].grpc_code)

What = Literal["decided", "shed", "given_up", "held_back", "failed", "wrong"]


class Question(Struct, frozen=True):
    """A serialized CheckRequest, and whether policy allows it."""

    message: bytes
    allowed: bool


class Answered(NamedTuple):
    """What became of a call, and when it was due."""

    outcome: What
    due: float


class _Open(Struct):
    due: float
    allowed: bool
    outcome: What = "failed"
    """As long as there is no message."""


class Caller:
    """A connection; it never blocks."""

    def __init__(self, host: str, port: int, questions: Sequence[Question]) -> None:
        """Connect, and say hello. Raises CannotMeasure."""
        self._allowed = [question.allowed for question in questions]
        block = header_block(f"{host}:{port}", _TIMEOUT)
        self._bodies = [framed(question.message) for question in questions]
        headers = frame(HEADERS, END_HEADERS, 0, block)
        # The numbers of streams are put between.
        self._begin = headers[:5]
        self._middles = [headers[9:] + frame(DATA, END_STREAM, 0, body)[:5] for body in self._bodies]
        self._waiting: deque[tuple[float, int]] = deque()
        self._streams: dict[int, _Open] = {}
        self._next = 1
        self._window = FIRST_WINDOW
        self._received = b""
        self._unsent = b""
        self._control: list[bytes] = []
        self._socket = socket.create_connection((host, port), _PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = frame(SETTINGS, 0, 0, b"\0\4" + LARGE_WINDOW.to_bytes(4, "big"))
        self._socket.sendall(PREFACE + hello + frame(WINDOW_UPDATE, 0, 0, _number(LARGE_WINDOW - FIRST_WINDOW)))
        self._hear_settings(block)
        self._socket.setblocking(False)

    @property
    def open(self) -> int:
        """Calls without an answer."""
        return len(self._waiting) + len(self._streams)

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def make(self, due: float, question: int) -> None:
        """Make a call with the question of this number as soon as it can be sent."""
        self._waiting.append((due, question))

    def give_up(self, now: float) -> Iterator[Answered]:
        """Give up the calls whose time is over."""
        while self._waiting and now - self._waiting[0][0] > TIMEOUT_S:
            yield Answered("held_back", self._waiting.popleft()[0])
        while self._streams:
            number, oldest = next(iter(self._streams.items()))
            if now - oldest.due <= TIMEOUT_S:
                return
            del self._streams[number]
            self._control.append(frame(RST_STREAM, 0, number, _CANCEL))
            yield Answered("given_up", oldest.due)

    def send(self) -> None:
        """Send what can be sent. Raises CannotMeasure."""
        pieces, self._control = [self._unsent, *self._control], []
        size = len(self._unsent)
        while self._waiting and len(self._streams) < _MOST_STREAMS and size < _MOST_UNSENT_BYTES:
            due, question = self._waiting[0]
            body = self._bodies[question]
            if len(body) > self._window:
                break
            self._waiting.popleft()
            self._window -= len(body)
            size += len(body)
            number = _number(self._next)
            self._streams[self._next] = _Open(due, self._allowed[question])
            self._next += 2
            pieces += (self._begin, number, self._middles[question], number, body)
        self._unsent = b"".join(pieces)
        if self._unsent:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except BlockingIOError:
                pass
            except OSError as error:
                raise CannotMeasure(f"the server has closed a connection: {error}") from None

    def read(self) -> Iterator[Answered]:
        """What has become of calls by what has come. Raises CannotMeasure."""
        try:
            received = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise CannotMeasure(f"the server has closed a connection: {error}") from None
        if not received:
            raise CannotMeasure("the server has closed a connection")
        yield from self._take(received)

    def _take(self, received: bytes) -> Iterator[Answered]:
        buffer, at = self._received + received, 0
        end = len(buffer)
        while end - at >= _HEAD_BYTES:
            upper, lower, kind, flags, number = _read_head(buffer, at)
            start = at + _HEAD_BYTES
            after = start + (upper << 8 | lower)
            if after > end:
                break
            at = after
            if kind <= HEADERS:
                call = self._streams.get(number)
                if call is None:
                    continue
                if kind == DATA:
                    call.outcome = _meaning(buffer[start + _PREFIX_BYTES : start + _PREFIX_BYTES + 4], call.allowed)
                if flags & END_STREAM:
                    del self._streams[number]
                    yield Answered(call.outcome, call.due)
            elif kind == RST_STREAM:
                call = self._streams.pop(number, None)
                if call is not None:
                    yield Answered("failed", call.due)
            else:
                self._control_frame(kind, flags, number, buffer[start:after])
        self._received = buffer[at:]

    def _control_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind in (SETTINGS, PING) and not flags & ACK:
            self._control.append(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == WINDOW_UPDATE and number == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            raise CannotMeasure(f"the server has had enough of a connection: {payload!r}")

    def _hear_settings(self, block: bytes) -> None:
        """Wait for the server's settings, after which one block may say that there is no table."""
        until = time.monotonic() + _PATIENCE_S
        while not self._control and time.monotonic() < until:
            for _ in self._take(self._socket.recv(_READ_BYTES)):
                pass
        # A first call of its own, which is given up at once: with it comes that the table has no place from now on.
        first = frame(HEADERS, END_HEADERS | END_STREAM, self._next, NO_TABLE + block)
        self._socket.sendall(b"".join(self._control) + first + frame(RST_STREAM, 0, self._next, _CANCEL))
        self._control.clear()
        self._next += 2


def _meaning(begin: bytes, allowed: bool) -> What:
    if begin[:3] != _DENIED:
        return "decided" if allowed else "wrong"
    if begin[3] == _FAILURE:
        return "shed"
    return "failed" if allowed else "decided"
