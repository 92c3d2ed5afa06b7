"""The end of a server: calls that are on their way are answered, and their callers know of which ones that holds."""

import socket
from collections.abc import Iterator
from contextlib import closing
from threading import Thread

import pytest

from authz_server.worker.address import TcpAddress
from authz_server.worker.calls import Call
from authz_server.worker.lean import loop
from authz_server.worker.lean.errors import ErrorCode
from authz_server.worker.lean.frames import ACK, PREFACE, STREAM_BITS, FrameType, frame, settings
from authz_server.worker.lean.server import LeanServer
from tests.unit.worker.lean.wire import (
    FIELDS,
    FIRST,
    Failure,
    Frame,
    Talk,
    call,
    data,
    failure,
    framed,
    headers,
    later,
    literals,
    read_frames,
    status,
)

PATIENCE_S = 30.0
GRACE_S = 3600.0
METHOD = "/a/Now"
BLOCK = literals([(name, METHOD.encode() if name == b":path" else value) for name, value in FIELDS])


def last_call(one: Frame) -> int:
    """Which call a GOAWAY names."""
    assert (one.kind, one.number) == (FrameType.GOAWAY, ErrorCode.NO_ERROR)
    return int.from_bytes(one.payload[:4], "big")


def answered(ping: Frame) -> bytes:
    """What a peer says to a PING."""
    assert (ping.kind, ping.flags) == (FrameType.PING, 0)
    return frame(FrameType.PING, ACK, 0, ping.payload)


def test_calls_that_are_on_their_way_are_taken() -> None:
    """Section 6.8: the last one is named only when the peer has heard that it is to begin no more."""
    talk = Talk(later)
    talk.say(call(1, b"m", FIRST))
    talk.connection.drain()
    warning, ping = talk.heard()
    assert last_call(warning) == STREAM_BITS
    assert talk.say(headers(3), frame(FrameType.PING, ACK, 0, b"another.")) == []
    assert not talk.connection.drained
    (farewell,) = talk.say(answered(ping))
    assert last_call(farewell) == 3
    talk.say(data(3, framed(b"m")))
    talk.connection.answer(1, b"one")
    assert not talk.connection.drained
    talk.connection.answer(3, b"three")
    frames = talk.heard()
    assert (status(frames, 1), status(frames, 3)) == ("0", "0")
    assert talk.connection.drained


def test_later_calls_are_refused() -> None:
    """So that the peer makes them elsewhere; and no GOAWAY that names a later one follows."""
    talk = Talk(later)
    talk.say(call(1, b"m", FIRST))
    talk.connection.take_no_more()
    (farewell,) = talk.heard()
    assert last_call(farewell) == 1
    assert failure(talk.say(call(3))) == Failure(3, ErrorCode.REFUSED_STREAM)
    (end,) = talk.say(data(0, b""))
    assert (end.kind, end.payload[:4]) == (FrameType.GOAWAY, b"\0\0\0\x01")


def test_each_step_is_told_once() -> None:
    """However often the end comes."""
    talk = Talk(later)
    talk.connection.drain()
    talk.connection.drain()
    _, ping = talk.heard()
    assert [one.kind for one in talk.say(answered(ping), answered(ping))] == [FrameType.GOAWAY]
    talk.connection.take_no_more()
    talk.connection.drain()
    assert talk.heard() == []


def test_a_connection_that_has_failed_is_told_nothing_more() -> None:
    """It is at its end."""
    talk = Talk(later)
    assert failure(talk.say(data(0, b""))) is not None
    talk.connection.drain()
    talk.connection.take_no_more()
    assert talk.heard() == []
    assert talk.connection.drained


@pytest.fixture(name="server")
def _server() -> LeanServer:
    def echo(message: bytes, _call: Call) -> bytes:
        return message

    made = LeanServer(TcpAddress("127.0.0.1", 0), {METHOD: echo})
    made.start()
    return made


def connect(server: LeanServer) -> socket.socket:
    """A connection that has said that it speaks HTTP/2."""
    address = server.address
    assert isinstance(address, TcpAddress)
    connected = socket.create_connection((address.host, address.port), PATIENCE_S)
    connected.sendall(PREFACE + settings(()))
    return connected


def frames_until_the_end(connection: socket.socket) -> Iterator[Frame]:
    """Whatever the server sends, as it comes."""
    rest = b""
    while piece := connection.recv(65_536):
        rest += piece
        while len(rest) >= 9 and len(rest) >= (size := 9 + int.from_bytes(rest[:3], "big")):
            yield from read_frames(rest[:size])
            rest = rest[size:]


def test_a_server_that_ends_answers_a_call_that_it_meets_on_the_way(server: LeanServer) -> None:
    """It was made before its caller could know; after it the server does not wait for its grace to be over."""
    with closing(connect(server)) as peer:
        ending = Thread(target=server.stop, args=(GRACE_S,))
        heard: list[Frame] = []
        for one in frames_until_the_end(peer):
            heard.append(one)
            if one.kind == FrameType.SETTINGS and not one.flags:
                ending.start()
            if one.kind == FrameType.PING:
                peer.sendall(call(1, b"m", BLOCK) + answered(one))
        ending.join()
    assert status(heard, 1) == "0"
    assert [last_call(one) for one in heard if one.kind == FrameType.GOAWAY] == [STREAM_BITS, 1]


def test_who_does_not_answer_is_not_waited_for(server: LeanServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that stands still, or that has never said anything."""
    monkeypatch.setattr(loop, "LAST_CALLS_S", 0.0)
    with closing(connect(server)) as peer:
        heard = frames_until_the_end(peer)
        assert next(heard).kind == FrameType.SETTINGS
        server.stop(GRACE_S)
        assert [last_call(one) for one in heard if one.kind == FrameType.GOAWAY][-1] == 0
