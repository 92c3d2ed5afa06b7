"""Load by a client of our own whose messages take turns: gRPC over one HTTP/2 connection, from frames made beforehand.

It knows no more of HTTP/2 (RFC 9113) than this takes. What it costs itself is of no account: the server's CPU is
measured, on another core.
"""

import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import cycle, islice

from benchmarks.errors import CannotMeasure
from benchmarks.load import Load
from benchmarks.payload import CHECK_PATH, framed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
_HEAD_BYTES = 9
FIRST_WINDOW = 65_535
LARGE_WINDOW = 2**31 - 1
# The table of headers is not used (RFC 7541, section 6.3), which fits whatever size the server allows.
NO_TABLE = b"\x20"
_ANSWER_S = 30.0
_READ_BYTES = 1 << 18


def rotating_load(host: str, port: int, messages: Sequence[bytes], calls: int, in_flight: int) -> Load:
    """Make so many calls with these messages in turn. Raises CannotMeasure."""
    client = _Client(host, port)
    started = time.perf_counter()
    try:
        client.make(islice(cycle([framed(message) for message in messages]), calls), in_flight)
    except OSError as error:
        raise CannotMeasure(f"the server has not answered {calls} calls: {error}") from None
    finally:
        client.close()
    elapsed = time.perf_counter() - started
    return Load(client.good, client.body_bytes, calls / elapsed, client.latencies_us, client.begun_s)


class _Client:
    def __init__(self, host: str, port: int) -> None:
        self.good = self.body_bytes = 0
        self.latencies_us: list[float] = []
        self.begun_s: list[float] = []
        self._socket = socket.create_connection((host, port), _ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._window = FIRST_WINDOW
        self._started: dict[int, float] = {}
        self._answered: set[int] = set()
        self._block = header_block(f"{host}:{port}")
        # The server may send as much as it likes, so that nothing of that is to be counted here.
        settings = frame(SETTINGS, 0, 0, b"\0\4" + LARGE_WINDOW.to_bytes(4, "big"))
        grant = frame(WINDOW_UPDATE, 0, 0, (LARGE_WINDOW - FIRST_WINDOW).to_bytes(4, "big"))
        self._outgoing = [PREFACE, settings, grant]

    def close(self) -> None:
        self._socket.close()

    def make(self, bodies: Iterator[bytes], in_flight: int) -> None:
        """Keep so many calls in flight until all have an answer."""
        waiting: deque[bytes] = deque(islice(bodies, in_flight))
        stream = 1
        while waiting or self._started:
            while waiting and len(waiting[0]) <= self._window:
                stream = self._begin(stream, waiting.popleft())
            self._exchange()
            waiting.extend(islice(bodies, in_flight - len(self._started) - len(waiting)))

    def _begin(self, stream: int, body: bytes) -> int:
        self._window -= len(body)
        self._started[stream] = time.time()
        block = self._block if stream > 1 else NO_TABLE + self._block
        head = frame(HEADERS, END_HEADERS, stream, block)
        self._outgoing += (head, frame(DATA, END_STREAM, stream, body))
        return stream + 2

    def _exchange(self) -> None:
        """Send what there is to send, and take what has come."""
        self._socket.sendall(b"".join(self._outgoing))
        self._outgoing.clear()
        received = self._socket.recv(_READ_BYTES)
        if not received:
            raise CannotMeasure("the server has closed the connection")
        buffer, at = self._received + received, 0
        while (start := at + _HEAD_BYTES) <= len(buffer):
            end = start + int.from_bytes(buffer[at : at + 3], "big")
            if end > len(buffer):
                break
            self._take(buffer[at + 3], buffer[at + 4], int.from_bytes(buffer[at + 5 : start], "big"), buffer[start:end])
            at = end
        self._received = buffer[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self.body_bytes += len(payload)
            self._answered.add(stream)
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self._outgoing.append(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            raise CannotMeasure(f"the server has had enough of this connection: {payload!r}")
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            begun = self._started.pop(stream)
            self.begun_s.append(begun)
            self.latencies_us.append((time.time() - begun) * 1e6)
            # An error of gRPC is an end without a message.
            self.good += stream in self._answered
            self._answered.discard(stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A whole frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def header_block(authority: str, timeout: str = "60S") -> bytes:
    """The headers of a call, each literal and not for the table (RFC 7541, section 6.2.2)."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": CHECK_PATH,
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
        "grpc-timeout": timeout,
    }
    return b"".join(b"\0" + _literal(name) + _literal(value) for name, value in headers.items())


def _literal(text: str) -> bytes:
    # Lengths under 127 are one octet (RFC 7541, section 5.1).
    assert len(text) < 127
    return bytes((len(text),)) + text.encode()
