"""The client of grpcio, over a socket, with many calls at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeAlias

import grpc
import pytest

from authz_server.errors import GrpcCode
from authz_server.worker.address import Address, TcpAddress, UnixAddress
from authz_server.worker.calls import Call, CallRefused
from authz_server.worker.lean.server import LeanServer

PATIENCE_S = 30.0
Method: TypeAlias = "grpc.UnaryUnaryMultiCallable[bytes, bytes]"


def now(message: bytes, _call: Call) -> bytes:
    """Answer with the request."""
    return message


def later(message: bytes, call: Call) -> None:
    """Answer by another thread."""
    threading.Thread(target=call.answer, args=(message,)).start()


def refuse(message: bytes, _call: Call) -> bytes:
    """Answer with a status."""
    raise CallRefused(GrpcCode.NOT_FOUND, f"{len(message)} bytes é 100 %")


def remaining(_message: bytes, call: Call) -> bytes:
    """Answer with the seconds that are left."""
    return str(call.time_remaining()).encode()


@contextmanager
def serving(address: Address) -> Iterator[grpc.Channel]:
    """A channel to a server on that address."""
    handlers = {"/a/Now": now, "/a/Later": later, "/a/Refuse": refuse, "/a/Remaining": remaining}
    server = LeanServer(address, handlers)
    server.start()
    try:
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(str(server.address), options) as channel:
            yield channel
    finally:
        server.stop(0)


@pytest.fixture(name="channel", params=["tcp", "unix"])
def _channel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[grpc.Channel]:
    with serving(TcpAddress("127.0.0.1", 0) if request.param == "tcp" else UnixAddress(str(tmp_path / "s"))) as channel:
        yield channel


def test_calls_of_all_sizes_at_once_get_their_own_answers(channel: grpc.Channel) -> None:
    """Whether they are answered at once or later, and whoever gives up meanwhile."""
    chance = Random(1)  # noqa: S311 - the same each time
    methods: list[Method] = [channel.unary_unary("/a/Now"), channel.unary_unary("/a/Later")]
    calls = []
    for _ in range(400):
        message = chance.randbytes(chance.choice((0, 1, 1_000, 20_000, 300_000)))
        metadata = (("tracestate", "v" * chance.choice((1, 1_000, 5_000, 100_000))),)
        calls.append((message, chance.choice(methods).future(message, timeout=PATIENCE_S, metadata=metadata)))
        if chance.random() < 0.1:
            chance.choice(calls)[1].cancel()
    for message, future in calls:
        if not future.cancelled():
            assert future.result(PATIENCE_S) == message
    assert sum(not future.cancelled() for _, future in calls) > 300


def test_ten_thousand_calls_one_after_the_other_are_answered(channel: grpc.Channel) -> None:
    """What the client sends beside them is no flood."""
    method: Method = channel.unary_unary("/a/Now")
    for at in range(0, 10_000, 500):
        futures = [method.future(b"%d" % number, timeout=PATIENCE_S) for number in range(at, at + 500)]
        assert [future.result(PATIENCE_S) for future in futures] == [b"%d" % number for number in range(at, at + 500)]


def test_a_status_comes_with_its_details(channel: grpc.Channel) -> None:
    """Whatever characters they have."""
    method: Method = channel.unary_unary("/a/Refuse")
    with pytest.raises(grpc.RpcError) as refused:
        method(b"12345", timeout=PATIENCE_S)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details() == "5 bytes é 100 %"


def test_a_deadline_is_known(channel: grpc.Channel) -> None:
    """In seconds; None without one."""
    method: Method = channel.unary_unary("/a/Remaining")
    assert 20 < float(method(b"", timeout=PATIENCE_S)) <= PATIENCE_S + 1.0  # grpcio rounds up
    assert method(b"") == b"None"


def test_compressed_messages_are_refused(channel: grpc.Channel) -> None:
    """With UNIMPLEMENTED, as gRPC prescribes."""
    method: Method = channel.unary_unary("/a/Now")
    with pytest.raises(grpc.RpcError) as refused:
        method(b"x" * 10_000, timeout=PATIENCE_S, compression=grpc.Compression.Gzip)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
