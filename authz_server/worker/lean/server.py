"""Calls of gRPC from a proxy on the same machine, answered by one thread."""

import os
import time
from collections.abc import Mapping
from functools import partial
from threading import Event, Thread

import structlog

from authz_server.errors import GrpcCode, Reason
from authz_server.worker.address import Address, TcpAddress
from authz_server.worker.calls import NOTHING_QUEUED, CallRefused, Handler, Queued
from authz_server.worker.lean.answers import Answer, status_answer
from authz_server.worker.lean.call import LeanCall
from authz_server.worker.lean.connection import Connection
from authz_server.worker.lean.field_blocks import KnownBlocks
from authz_server.worker.lean.heads import Head
from authz_server.worker.lean.listener import listen, remove
from authz_server.worker.lean.loop import Loop
from authz_server.worker.lean.peer import Peer
from authz_server.worker.lean.streams import Held
from authz_server.worker.lean.unary import NO_ROOM
from authz_server.worker.limits import LONGEST_HOLD_S
from authz_server.worker.scheduling import run_when_woken
from authz_server.worker.waiting import Waiting

_NO_METHOD = status_answer(GrpcCode.UNIMPLEMENTED, "there is no such method")
_AT_FAULT = status_answer(GrpcCode.INTERNAL, "the server is at fault")


class LeanServer:
    """Takes calls of these methods, by their paths, on an address that only this machine can reach."""

    def __init__(
        self,
        address: Address,
        handlers: Mapping[str, Handler],
        queued: Queued = NOTHING_QUEUED,
        table_bytes: int = 0,
    ) -> None:
        """Listen. `table_bytes` is the place that peers may give the table of fields. Raises OSError."""
        self._table_bytes = table_bytes
        self._address = address
        self._handlers = dict(handlers)
        self._queued = queued
        self._waiting: Waiting[LeanCall] = Waiting(queued)
        self._known_blocks = KnownBlocks()
        self._held = Held()
        self._listener = listen(address)
        self._loop = Loop(self._listener, self._connection, self._work, self._waiting.deny_all)
        self._stopped = Event()

    @property
    def address(self) -> Address:
        """The address with the real port."""
        if isinstance(self._address, TcpAddress):
            return TcpAddress(self._address.host, int(self._listener.getsockname()[1]))
        return self._address

    def start(self) -> None:
        """Answer from now on."""
        Thread(target=self._run, name="check", daemon=True).start()

    def stop(self, grace_s: float) -> None:
        """Take no more calls, and finish those in flight; after `grace_s` those that wait for their turn are denied."""
        self._loop.end_within(grace_s)
        self._stopped.wait()
        remove(self._address)

    def _run(self) -> None:
        run_when_woken()
        try:
            self._loop.run()
        except BaseException:  # noqa: BLE001  # the border: a worker that answers nothing must not look alive
            structlog.get_logger().critical("answering_failed", exc_info=True)
            os._exit(1)
        self._stopped.set()

    def _connection(self, peer: Peer) -> Connection:
        return Connection(
            partial(self._take, peer),
            self._known_blocks,
            self._held,
            table_bytes=self._table_bytes,
            turn_away=self._turn_away,
        )

    def _turn_away(self, head: Head) -> bytes | Answer:
        return self._queued.deny(Reason.OVERLOADED, 1) if head.path == self._queued.path else NO_ROOM

    def _take(self, peer: Peer, stream: int, head: Head, message: bytes) -> bytes | Answer | None:
        handler = self._handlers.get(head.path)
        if handler is None:
            return _NO_METHOD
        call = LeanCall(message, head.timeout_s, handler, self._loop, peer, stream)
        if head.path != self._queued.path:
            return _answer(call)
        self._waiting.add(call)
        return None

    def _work(self) -> bool:
        """Answer calls that wait, for a little while; returns whether there are more."""
        waiting = self._waiting
        if not waiting:
            return False
        now = time.monotonic()
        until = now + LONGEST_HOLD_S
        waiting.relieve(now)
        while now < until and (call := waiting.take(now)) is not None:
            answer = _answer(call)
            if answer is not None:
                call.reply(answer)
            now = time.monotonic()
        waiting.deny_shed()
        return bool(waiting)


def _answer(call: LeanCall) -> bytes | Answer | None:
    try:
        return call.handle(call.message, call)
    except CallRefused as refusal:
        return status_answer(refusal.code, refusal.details)
    except Exception as error:  # noqa: BLE001  # the border: one call that goes wrong must not end all others
        structlog.get_logger().error("call_failed", error=type(error).__name__, exc_info=True)
        return _AT_FAULT
