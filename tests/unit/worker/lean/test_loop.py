"""Sockets: who is let in, who is sent away, and whom others do not have to wait for."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from authz_server.worker.address import TcpAddress, UnixAddress
from authz_server.worker.calls import Call, Handler, Queued
from authz_server.worker.lean import call as lean_call
from authz_server.worker.lean import loop
from authz_server.worker.lean import peer as lean_peer
from authz_server.worker.lean import server as lean_server
from authz_server.worker.lean.connection import Connection
from authz_server.worker.lean.frames import PREFACE, settings
from authz_server.worker.lean.listener import listen
from authz_server.worker.lean.server import LeanServer
from authz_server.worker.limits import LONGEST_HOLD_S
from tests.clocks import set_clock
from tests.unit.worker.lean.wire import FIELDS, call, literals

PATIENCE_S = 30.0
METHOD = "/a/Now"


def echo(message: bytes, _call: Call) -> bytes:
    """Answer with the request."""
    return message


@pytest.fixture(name="server")
def _server() -> Iterator[LeanServer]:
    made = LeanServer(TcpAddress("127.0.0.1", 0), {METHOD: echo})
    made.start()
    yield made
    made.stop(0)


def connect(server: LeanServer) -> socket.socket:
    """A connection that has said nothing yet."""
    address = server.address
    assert isinstance(address, TcpAddress)
    return socket.create_connection((address.host, address.port), PATIENCE_S)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server has ended it."""
    pieces = []
    while piece := connection.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def assert_serves(server: LeanServer) -> None:
    """Somebody else gets an answer."""
    with grpc.insecure_channel(str(server.address)) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        assert method(b"x", timeout=PATIENCE_S) == b"x"


def test_a_defect_that_one_peer_finds_ends_its_connection_alone(
    server: LeanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that answers goes on."""
    receive = Connection.receive

    def broken(connection: Connection, data: bytes) -> None:
        if b"find a defect" in data:
            raise ValueError("a defect")
        receive(connection, data)

    monkeypatch.setattr(Connection, "receive", broken)
    with connect(server) as peer:
        peer.sendall(b"find a defect")
        read_all(peer)
    assert_serves(server)


def test_what_speaks_no_http2_learns_so_before_its_connection_ends(server: LeanServer) -> None:
    """Although more of what it has sent is unread."""
    with connect(server) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" + b"x" * 500_000)
        peer.shutdown(socket.SHUT_WR)
        assert b"this is no HTTP/2" in read_all(peer)


def test_who_says_nothing_is_sent_away(server: LeanServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who speaks is not."""
    monkeypatch.setattr(loop, "LONGEST_GREETING_S", 0.0)
    with connect(server) as silent, connect(server) as other:
        other.sendall(PREFACE + settings(()))
        assert read_all(silent) != b""
        other.settimeout(0.2)
        with pytest.raises(TimeoutError):
            read_all(other)


def test_beyond_the_most_connections_others_wait_until_one_ends(
    server: LeanServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who is connected is disturbed."""
    monkeypatch.setattr(loop, "CONNECTIONS", loop.CONNECTIONS._replace(entries=2))
    with connect(server) as first, connect(server) as second, connect(server) as third:
        for peer in (first, second):
            assert peer.recv(1)
        third.settimeout(0.2)
        with pytest.raises(TimeoutError):
            third.recv(1)
        first.close()
        third.settimeout(PATIENCE_S)
        assert third.recv(1)


def test_from_who_does_not_take_its_answers_nothing_more_is_read(server: LeanServer) -> None:
    """Its connection fills, and what it makes the server keep is bounded."""
    with connect(server) as peer:
        peer.sendall(PREFACE + settings(()))
        peer.settimeout(1.0)
        sent = 0
        try:
            for number in range(1, 400_000, 2):
                sent += peer.send(not_grpc(number))
        except (TimeoutError, ConnectionError):
            pass
        assert sent < 16 * 1024 * 1024
    assert_serves(server)


def not_grpc(stream: int) -> bytes:
    """A request that is answered with 415, of fields of the static table."""
    block = b"\x83\x84\x86"
    return len(block).to_bytes(3, "big") + b"\x01\x05" + stream.to_bytes(4, "big") + block


def test_a_socket_of_a_server_that_has_ended_is_replaced(tmp_path: Path) -> None:
    """One that somebody listens on is not, and neither is a file of another kind."""
    address = UnixAddress(str(tmp_path / "check.sock"))
    listen(address).close()
    with listen(address), pytest.raises(OSError, match="in use"):
        listen(address)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="in use"):
        listen(UnixAddress(str(tmp_path / "file")))
    assert (tmp_path / "file").read_text() == "mine"


def test_when_the_server_ends_peers_are_told_that_it_takes_no_more(server: LeanServer) -> None:
    """GOAWAY, then the end of the connection."""
    with connect(server) as peer:
        peer.sendall(PREFACE + settings(()))
        assert peer.recv(1)
        server.stop(1.0)
        rest = read_all(peer)
    assert b"\x07\0\0\0\0\0" in rest


def test_an_answer_does_not_wait_long_for_others_that_came_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would come too late to be one, which is an RPC error and may pass."""
    now = [0.0]
    set_clock(monkeypatch, lean_call, lean_peer, lean_server, loop, monotonic=lambda: now[0])

    def slow(message: bytes, _call: Call) -> bytes:
        now[0] += 0.75 * LONGEST_HOLD_S
        return message

    with queueing(slow) as server, connect(server) as peer:
        peer.sendall(PREFACE + settings(()) + b"".join(call(number, b"<m>", BLOCK) for number in (1, 3, 5, 7)))
        heard = take_turns(server, peer, 4)
    # Two are made before they are sent, and then the next two.
    assert [answers for answers in heard if answers] == [2, 2]


def test_others_are_answered_before_calls_that_wait() -> None:
    """Whether a worker is well does not depend on how much it has to do."""
    order: list[bytes] = []

    def note(message: bytes, _call: Call) -> bytes:
        order.append(message)
        return message

    with queueing(note, others={"/a/Health": note}) as server, connect(server) as peer:
        health = call(3, b"health", literals([(n, b"/a/Health" if n == b":path" else v) for n, v in FIELDS]))
        peer.sendall(PREFACE + settings(()) + call(1, b"check", BLOCK) + health)
        take_turns(server, peer, 4)
    assert order == [b"health", b"check"]


BLOCK = literals([(n, METHOD.encode() if n == b":path" else v) for n, v in FIELDS])


@contextmanager
def queueing(handler: Handler, others: Mapping[str, Handler] | None = None) -> Iterator[LeanServer]:
    """A server whose thread is this one."""
    queued = Queued(METHOD, lambda reason, _calls: reason.encode(), lambda: None)
    server = LeanServer(TcpAddress("127.0.0.1", 0), {METHOD: handler, **(others or {})}, queued)
    server._loop._accept(True)
    try:
        yield server
    finally:
        server._loop.end_within(0)
        server._loop.run()


def take_turns(server: LeanServer, peer: socket.socket, turns: int) -> list[int]:
    """How many answers the peer has after each turn."""
    peer.settimeout(0.05)
    heard = []
    for _ in range(turns):
        server._loop._turn(0.05)
        try:
            heard.append(peer.recv(65_536).count(b"<m>"))
        except TimeoutError:
            heard.append(0)
    return heard
