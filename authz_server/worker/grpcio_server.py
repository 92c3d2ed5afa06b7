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
from authz_server.worker.calls import NOTHING_QUEUED, Call, CallRefused, Handler, Queued
from authz_server.worker.limits import LONGEST_HOLD_S
from authz_server.worker.scheduling import run_when_woken
from authz_server.worker.waiting import Waiting

_NO_FLAGS = 0
_LOOK_S = 1.0
_NOW = 0.0
EVENTS = Bound(
    "events of gRPC",
    "worker",
    entries=256,
    bytes=256 * 64 * KIB,
    holds="Events that are acted on in one go, and the answers that are sent after them.",
    full="They are acted on; more wait in gRPC.",
    kept_in=("GrpcioServer._due", "GrpcioServer._all_that_has_come"),
)
_EXPECTED = 64
"""Calls of each method that may begin before any of them is looked at."""
_BUSY = 64
"""With so many calls at once there may be more to come than can be answered."""
_EMPTY_WHEN_BUSY = 4
_MOST_REQUESTS = 32
"""Calls whose requests are asked for at once: more would be decided before others that are newer."""
_LAST_ANSWERS_S = 0.5
"""For the denials at the end, before what is left is cancelled."""
_NOWHERE = TcpAddress("localhost", 0)
_OTHER_METHOD, _END = "other", "end"


class _GrpcioCall:
    """One call; `handler` answers it as soon as its request is there."""

    __slots__ = ("_call", "_handler", "came", "deadline")

    size = 0
    """The request is gRPC's as long as nobody has asked for it; the window of its stream bounds it."""
    given_up = False
    """Nobody asks gRPC."""

    def __init__(self, event: Any, handler: Handler) -> None:  # noqa: ANN401  # cygrpc has no types
        self._call = event.call
        self.came = time.monotonic()
        self.deadline: float = self.came + event.call_details.deadline - time.time()
        self._handler = handler

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline."""
        return max(0.0, self.deadline - time.monotonic())

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

    def forget_request(self) -> None:
        """gRPC does, when the call is answered."""

    def reply(self, answer: bytes) -> None:
        """Answer it in the thread that decides; a failure is its own alone."""
        _alone(self.answer, answer)

    def _send(self, *operations: Any) -> None:  # noqa: ANN401
        # That the client is gone need not be known before the end: one batch for all is one event for all.
        first = cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS)
        last = cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS)
        self._call.start_server_batch((first, *operations, last), _answered)


class GrpcioServer:
    """Takes calls of these methods, by their paths."""

    def __init__(
        self, options: Sequence[tuple[str, int]], handlers: Mapping[str, Handler], queued: Queued = NOTHING_QUEUED
    ) -> None:
        self.address: Address = _NOWHERE
        self._handlers = dict(handlers)
        self._methods = frozenset((*self._handlers, _OTHER_METHOD))
        self._queued = queued.path
        self._waiting: Waiting[_GrpcioCall] = Waiting(queued)
        """Calls whose requests have not been asked for: to receive one is much of what it costs."""
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(options), False)
        self._server.register_completion_queue(self._queue)
        for method in self._handlers:
            self._server.register_method(method)
        self._lock = Lock()
        self._stopping = self._too_late = False
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
        for method in self._methods:
            for _ in range(_EXPECTED):
                self._expect(method)
        Thread(target=self._run, name="check", daemon=True).start()

    def stop(self, grace_s: float) -> None:
        """Take no more calls, and finish those in flight; after `grace_s` those that wait for their turn are denied."""
        with self._lock:
            self._stopping = True
            self._server.shutdown(self._queue, _END)
        if not self._stopped.wait(grace_s):
            self._too_late = True
        if not self._stopped.wait(_LAST_ANSWERS_S):
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
        run_when_woken()
        try:
            self._answer()
        except BaseException:  # noqa: BLE001  # the border: a worker that answers nothing must not look alive
            structlog.get_logger().critical("answering_failed", exc_info=True)
            os._exit(1)

    def _answer(self) -> None:
        while not self._ended:
            events = self._all_that_has_come()
            since = time.monotonic()
            while events:
                # An event holds its call, which must not live until the next one comes.
                _alone(self._act, events.popleft())
                if time.monotonic() - since > LONGEST_HOLD_S:
                    self._send_due()
                    since = time.monotonic()
            self._let_in(since)
            self._send_due()
        self._stopped.set()

    def _all_that_has_come(self) -> deque[Any]:
        """Wait for an event, and take those that are there with it.

        With several calls at once, one kind of work for each call in turn, and then the next kind, costs half of what
        all of it for one call after the other does.
        """
        events: deque[Any] = deque()
        self._take(self._queue.poll(_NOW if self._waiting else time.time() + _LOOK_S), events)
        empty = 0
        while self._calls > 1 and len(events) < EVENTS.entries:
            event = self._queue.poll(_NOW)
            if event.tag is not None:
                empty = 0
                self._take(event, events)
                continue
            empty += 1
            # gRPC reads what has come while it is asked, and says that there is nothing before it has read everything.
            if empty == _EMPTY_WHEN_BUSY or self._calls < _BUSY:
                break
        return events

    def _take(self, event: Any, events: deque[Any]) -> None:  # noqa: ANN401
        """Keep an event for later; a call that begins waits for its turn at once, so that the next one may begin."""
        if event.tag in self._methods:
            _alone(self._begin, event)
        else:
            events.append(event)

    def _let_in(self, now: float) -> None:
        """Ask for the requests of those whose turn it is."""
        if not self._waiting:
            return
        if self._too_late:
            self._waiting.deny_all()
            return
        self._waiting.relieve(now)
        for _ in range(_MOST_REQUESTS):
            call = self._waiting.take(now)
            if call is None:
                break
            _alone(_GrpcioCall.receive, call)
        self._waiting.deny_shed()

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

    def _begin(self, event: Any) -> None:  # noqa: ANN401
        # Before anything else, whatever became of this one: without it no further call would ever come.
        self._expect(event.tag)
        if not event.success:
            return
        self._calls += 1
        handler = self._handlers.get(event.tag)
        if handler is None:
            _GrpcioCall(event, _no_handler).end(GrpcCode.UNIMPLEMENTED, "there is no such method")
        elif event.tag == self._queued:
            self._waiting.add(_GrpcioCall(event, handler))
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
