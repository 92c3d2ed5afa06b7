"""Calls by grpcio, all taken by one thread: it takes an event from gRPC, acts on it, and takes the next.

grpcio's own server hands each call to and fro between three threads, which costs more than the check. A check waits for
nothing, so it gains nothing by that; one that has to wait is answered later, by whoever waits for it. This is the layer
on which grpcio's servers stand; it is not documented, so the version of grpcio is pinned, and the tests of this package
say when it has changed.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Lock, Thread
from typing import Any

import grpc
import structlog
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from authz_server.bounds import KIB, Bound
from authz_server.errors import GrpcCode
from authz_server.worker.address import Address, TcpAddress
from authz_server.worker.calls import Call, CallRefused, Handler
from authz_server.worker.limits import LONGEST_HOLD_S

_NO_FLAGS = 0
_LOOK_S = 1.0
_NOW = 0.0
EVENTS = Bound(
    "events of gRPC",
    "worker",
    entries=64,
    bytes=64 * 64 * KIB,
    holds="Events that are acted on in one go, and the answers that are sent after them.",
    full="They are acted on; more wait in gRPC.",
    kept_in=("GrpcioServer._due", "GrpcioServer._answer"),
)
_EXPECTED = 32
"""Calls of each method that may begin before any of them is looked at."""
_NOWHERE = TcpAddress("localhost", 0)
_OTHER_METHOD, _END = "other", "end"


class _GrpcioCall:
    """One call; `handler` answers it as soon as its request is there."""

    __slots__ = ("_call", "_deadline", "_handler")

    def __init__(self, event: Any, handler: Handler) -> None:  # noqa: ANN401  # cygrpc has no types
        self._call = event.call
        self._deadline = event.call_details.deadline
        self._handler = handler

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline."""
        return float(max(0.0, self._deadline - time.time()))

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """What the handshake told about the peer."""
        return {name.decode(): values for name, values in cygrpc.auth_context(self._call).items()}

    def receive(self) -> None:
        """Ask for the request, which comes as an event."""
        self._call.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), self)

    def end(self, code: GrpcCode, details: str) -> None:
        """End it without an answer."""
        self._send(cygrpc.SendStatusFromServerOperation(None, int(code), details.encode(), _NO_FLAGS))

    def received(self, event: Any) -> bytes | None:  # noqa: ANN401
        """The answer to the request that has come; None where there is none yet, or never will be."""
        request = event.batch_operations[0].message()
        if request is None:
            self.end(GrpcCode.INTERNAL, "there is no request, or it is too large")
            return None
        try:
            return self._handler(request, self)
        except CallRefused as refusal:
            self.end(refusal.code, refusal.details)
            return None
        except Exception:
            self.end(GrpcCode.INTERNAL, "the server is at fault")
            raise

    def answer(self, answer: bytes) -> None:
        """Answer it; from any thread, once."""
        self._send(
            cygrpc.SendMessageOperation(answer, _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(None, cygrpc.StatusCode.ok, b"", _NO_FLAGS),
        )

    def _send(self, *operations: Any) -> None:  # noqa: ANN401
        # That the client is gone need not be known before the end: one batch for all is one event for all.
        first = cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS)
        last = cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS)
        self._call.start_server_batch((first, *operations, last), _answered)


class GrpcioServer:
    """Takes calls of these methods, by their paths."""

    def __init__(self, options: Sequence[tuple[str, int]], handlers: Mapping[str, Handler]) -> None:
        self.address: Address = _NOWHERE
        self._handlers = dict(handlers)
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(options), False)
        self._server.register_completion_queue(self._queue)
        for method in self._handlers:
            self._server.register_method(method)
        self._lock = Lock()
        self._stopping = False
        self._calls = 0
        """Those that have begun and are not answered."""
        self._due: deque[tuple[_GrpcioCall, bytes]] = deque()
        """Answers that are not sent yet."""
        self._ended = False
        self._stopped = Event()

    def listen(self, address: Address, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen; port 0 in the address becomes the real one. Raises RuntimeError where it cannot be had."""
        if credentials is None:
            port = self._server.add_http2_port(str(address).encode())
        else:
            port = self._server.add_http2_port(str(address).encode(), credentials._credentials)  # type: ignore[attr-defined]
        if port == 0:
            raise RuntimeError(f"cannot listen on {address}")
        self.address = TcpAddress(address.host, int(port)) if isinstance(address, TcpAddress) else address

    def start(self) -> None:
        """Answer from now on."""
        self._server.start()
        for method in (*self._handlers, _OTHER_METHOD):
            for _ in range(_EXPECTED):
                self._expect(method)
        Thread(target=self._run, name="check", daemon=True).start()

    def stop(self, grace_s: float) -> None:
        """Take no more calls, and wait for those in flight; after `grace_s` they are cancelled."""
        with self._lock:
            self._stopping = True
            self._server.shutdown(self._queue, _END)
        if not self._stopped.wait(grace_s):
            self._server.cancel_all_calls()
            self._stopped.wait()
        self._server.destroy()

    def _expect(self, method: str) -> None:
        with self._lock:
            if self._stopping:
                return
            if method is _OTHER_METHOD:
                self._server.request_call(self._queue, self._queue, method)
            else:
                self._server.request_registered_call(self._queue, self._queue, method, method)

    def _run(self) -> None:
        try:
            self._answer()
        except BaseException:  # noqa: BLE001  # the border: a worker that answers nothing must not look alive
            structlog.get_logger().critical("answering_failed", exc_info=True)
            os._exit(1)

    def _answer(self) -> None:
        events: deque[Any] = deque()
        while not self._ended:
            events.append(self._queue.poll(time.time() + _LOOK_S))
            # With several calls at once, all that has come: one kind of work for each call in turn, and then the next
            # kind, costs half of what all of it for one call after the other does.
            while self._calls > 1 and len(events) < EVENTS.entries:
                event = self._queue.poll(_NOW)
                if event.tag is None:
                    break
                events.append(event)
            # An event holds its call, which must not live until the next one comes.
            event = None
            since = time.monotonic()
            while events:
                _alone(self._act, events.popleft())
                if time.monotonic() - since > LONGEST_HOLD_S:
                    self._send_due()
                    since = time.monotonic()
            self._send_due()
        self._stopped.set()

    def _send_due(self) -> None:
        while self._due:
            call, answer = self._due.popleft()
            _alone(call.answer, answer)

    def _act(self, event: Any) -> None:  # noqa: ANN401
        tag = event.tag
        if isinstance(tag, _GrpcioCall):
            answer = tag.received(event)
            if answer is not None:
                self._due.append((tag, answer))
        elif tag is _answered:
            self._calls -= 1
        elif tag is _END:
            self._ended = True
        elif tag is not None:
            # Before anything else, whatever became of this one: without it no further call would ever come.
            self._expect(tag)
            if not event.success:
                return
            self._calls += 1
            handler = self._handlers.get(tag)
            if handler is None:
                _GrpcioCall(event, _no_handler).end(GrpcCode.UNIMPLEMENTED, "there is no such method")
            else:
                _GrpcioCall(event, handler).receive()


def _alone(act: Callable[[Any], None], on: Any) -> None:  # noqa: ANN401
    """Let one call that fails not end all others."""
    try:
        act(on)
    except Exception as error:  # noqa: BLE001  # the border
        structlog.get_logger().error("call_failed", error=type(error).__name__, exc_info=True)


def _no_handler(_request: bytes, _call: Call) -> bytes:
    raise CallRefused(GrpcCode.UNIMPLEMENTED, "there is no such method")


def _answered(_event: object) -> None:
    return
