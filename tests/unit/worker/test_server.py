"""The gRPC server of a worker: bytes in, bytes out, on every kind of address."""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import grpc
import pytest
from msgspec import structs

from authz_server.control.addresses import bound_address, listen_on
from authz_server.dev.waiting import wait_until
from authz_server.identity.settings import IdentitySettings
from authz_server.worker.address import Address, TcpAddress, UnixAddress
from authz_server.worker.calls import Call as ServerCall
from authz_server.worker.calls import Handler
from authz_server.worker.limits import MAX_MESSAGE_BYTES
from authz_server.worker.messages import TransportName, WorkerSettings
from authz_server.worker.scheduling import interrupt_nobody
from authz_server.worker.server import CannotListen, CheckServer
from tests.unit.control.fleet import CHECK, PATIENCE_S, says_serving

ANY_PORT = TcpAddress("127.0.0.1", 0)
SETTINGS = WorkerSettings(
    slot=0,
    address=ANY_PORT,
    ring="",
    metrics_directory="",
    identity=IdentitySettings(),
    hash_key=b"k" * 32,
    log_level="info",
    log_format="json",
)
Call = Callable[[bytes], bytes]
Listening = tuple[CheckServer, Address]


def echo(payload: bytes, _call: ServerCall) -> bytes:
    """Answer with the request."""
    return payload


class Serve(Protocol):
    """Makes a server that listens, with these settings."""

    def __call__(self, handler: Handler = echo, **changes: object) -> AbstractContextManager[Listening]:
        """Listen until the end of the block."""
        ...


@contextmanager
def listening(handler: Handler = echo, **changes: object) -> Iterator[Listening]:
    """A listening server with these settings."""
    made = CheckServer(structs.replace(SETTINGS, **changes), handler)
    address = made.start()
    try:
        yield made, address
    finally:
        made.drain(0)


@pytest.fixture(name="server", params=["grpcio", "lean"])
def _server(request: pytest.FixtureRequest) -> Serve:
    """A server of each transport."""
    transport: TransportName = request.param
    return lambda handler=echo, **changes: listening(handler, transport=transport, **changes)


@contextmanager
def client(address: Address, credentials: grpc.ChannelCredentials | None = None, method: str = CHECK) -> Iterator[Call]:
    """A call to Check, or another method, without any message type."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with ExitStack() as stack:
        if credentials is None:
            channel = grpc.insecure_channel(str(address), options)
        else:
            channel = grpc.secure_channel(
                str(address), credentials, [*options, ("grpc.ssl_target_name_override", "authz")]
            )
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = stack.enter_context(channel).unary_unary(method)
        yield lambda payload: call(payload, timeout=PATIENCE_S)


@pytest.mark.parametrize(
    "payload", [b"", b"\xff\xfe not protobuf", b"x" * (16 * 1024 * 1024)], ids=["empty", "junk", "16 MiB"]
)
def test_whatever_comes_reaches_the_check(server: Serve, payload: bytes) -> None:
    """The transport reads no message, so none makes it answer with an error of its own."""
    with server() as (_, address), client(address) as call:
        assert call(payload) == payload


@pytest.mark.parametrize("size", [100, 8_000, 12_000, 20_000, 60_000, 1_000_000])
def test_metadata_of_any_size_that_envoy_sends_reach_the_check(server: Serve, size: int) -> None:
    """A client chooses its `tracestate`, which Envoy sends along: it must not choose an RPC error, which may pass."""
    with server() as (_, address), grpc.insecure_channel(str(address)) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
        assert method(b"payload", metadata=(("tracestate", "a=" + "x" * size),), timeout=PATIENCE_S) == b"payload"


def test_health_says_serving_when_told_to(server: Serve) -> None:
    """And not before."""
    with server() as (made, address):
        assert not says_serving(address)
        made.set_serving()
        assert says_serving(address)


@pytest.mark.parametrize(
    ("method", "request_bytes", "code"),
    [
        ("/grpc.health.v1.Health/Check", b"\x0a\x05other", grpc.StatusCode.NOT_FOUND),
        ("/grpc.health.v1.Health/Check", b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
        ("/grpc.health.v1.Health/Watch", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("/other.Service/Method", b"", grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_what_is_not_known_is_refused(server: Serve, method: str, request_bytes: bytes, code: grpc.StatusCode) -> None:
    """With the status that gRPC prescribes."""
    with server() as (_, address), grpc.insecure_channel(str(address)) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        with pytest.raises(grpc.RpcError) as refused:
            call(request_bytes, timeout=PATIENCE_S)
        assert refused.value.code() is code


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_socket_has_the_mode_of_the_settings(server: Serve, tmp_path: Path, mode: int) -> None:
    """Nobody else can call Check."""
    path = tmp_path / "check.sock"
    with server(address=UnixAddress(str(path)), socket_mode=mode) as (_, address), client(address) as call:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert call(b"x") == b"x"
    assert not path.exists()


def test_a_port_in_use_is_not_shared(server: Serve) -> None:
    """Not even with another gRPC server."""
    with server() as (_, address):
        second = CheckServer(structs.replace(SETTINGS, address=address), echo)
        with pytest.raises(CannotListen, match=f"cannot listen on {address}: the address is in use"):
            second.start()


def test_a_port_can_be_shared_when_that_is_wanted() -> None:
    """By all workers of one server."""
    with listen_on(ANY_PORT) as free:
        address = bound_address(free, ANY_PORT)
    with listening(address=address, shared=True), listening(address=address, shared=True), client(address) as call:
        assert call(b"x") == b"x"


def test_a_call_in_flight_finishes_when_the_server_drains(server: Serve) -> None:
    """A call that has begun gets its answer, although health has said NOT_SERVING since."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(payload: bytes, _call: ServerCall) -> bytes:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return payload

    with server(slow) as (made, address), client(address) as call, ThreadPoolExecutor(2) as threads:
        made.set_serving()
        answer = threads.submit(call, b"x")
        assert begun.wait(PATIENCE_S)
        drained = threads.submit(made.drain, PATIENCE_S)
        go_on.set()
        assert answer.result(PATIENCE_S) == b"x"
        drained.result(PATIENCE_S)
        with pytest.raises(grpc.RpcError):
            call(b"x")


def test_a_call_can_be_answered_later_by_another_thread(server: Serve) -> None:
    """Others are answered meanwhile, and a server that drains waits for it."""
    later: list[ServerCall] = []

    def pick(payload: bytes, call: ServerCall) -> bytes | None:
        if payload == b"later":
            later.append(call)
            return None
        return payload

    with server(pick) as (made, address), client(address) as call, ThreadPoolExecutor(2) as threads:
        made.set_serving()
        answer = threads.submit(call, b"later")
        wait_until(lambda: bool(later), PATIENCE_S, "the call")
        assert call(b"now") == b"now"
        drained = threads.submit(made.drain, PATIENCE_S)
        later.pop().answer(b"at last")
        assert answer.result(PATIENCE_S) == b"at last"
        drained.result(PATIENCE_S)


def test_an_answer_for_a_client_that_has_gone_harms_nobody(server: Serve) -> None:
    """Nor does the call stay."""
    later: list[ServerCall] = []

    def pick(payload: bytes, call: ServerCall) -> bytes | None:
        if payload == b"later":
            later.append(call)
            return None
        return payload

    with server(pick) as (_, address), grpc.insecure_channel(str(address)) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
        gone = method.future(b"later", timeout=PATIENCE_S)
        wait_until(lambda: bool(later), PATIENCE_S, "the call")
        gone.cancel()
        later.pop().answer(b"too late")
        assert method(b"now", timeout=PATIENCE_S) == b"now"


def test_the_thread_that_answers_runs_when_it_is_woken(server: Serve) -> None:
    """Whatever the thread may do that has started it: on a core that others use, calls would wait for milliseconds."""

    def policy(_payload: bytes, _call: ServerCall) -> bytes:
        return b"%d" % os.sched_getscheduler(0)

    def serve_quietly() -> bytes:
        interrupt_nobody()
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
        with server(policy) as (_, address), client(address) as call:
            return call(b"")

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(serve_quietly).result(PATIENCE_S) == b"%d" % os.SCHED_OTHER


def test_a_handler_that_fails_ends_its_own_call_alone(server: Serve) -> None:
    """The thread that answers goes on."""

    def picky(payload: bytes, _call: ServerCall) -> bytes:
        if payload == b"bad":
            raise ValueError("a defect")
        return payload

    with server(picky) as (_, address), client(address) as call:
        with pytest.raises(grpc.RpcError) as failed:
            call(b"bad")
        assert failed.value.code() is grpc.StatusCode.INTERNAL
        assert call(b"good") == b"good"


def test_a_client_that_goes_away_leaves_others_served(server: Serve) -> None:
    """Whether before the request has come, or before the answer leaves."""
    with server() as (_, address), grpc.insecure_channel(str(address)) as channel:
        hanging: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(CHECK)
        never = threading.Event()

        def nothing() -> Iterator[bytes]:
            never.wait(PATIENCE_S)
            yield from ()

        calls = [hanging.future(nothing()) for _ in range(20)]
        with client(address) as call:
            assert call(b"x") == b"x"
        for one in calls:
            one.cancel()
        never.set()
        with client(address) as call:
            assert call(b"x") == b"x"


def test_a_message_over_the_bound_is_refused_by_the_transport(server: Serve) -> None:
    """What is larger than any request that is decided takes no memory."""
    with server() as (_, address), client(address) as call:
        with pytest.raises(grpc.RpcError) as refused:
            call(b"x" * (MAX_MESSAGE_BYTES + 1))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
