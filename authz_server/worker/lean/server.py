"""Calls of gRPC from a proxy on the same machine, answered by one thread."""

import os
import time
from collections.abc import Mapping
from functools import partial
from threading import Event, Thread

import structlog

from authz_server.errors import GrpcCode
from authz_server.worker.address import Address, TcpAddress
from authz_server.worker.calls import CallRefused, Handler
from authz_server.worker.lean.answers import Answer, status_answer
from authz_server.worker.lean.call import LeanCall
from authz_server.worker.lean.connection import Connection
from authz_server.worker.lean.field_blocks import KnownBlocks
from authz_server.worker.lean.heads import Head
from authz_server.worker.lean.listener import listen, remove
from authz_server.worker.lean.loop import Loop
from authz_server.worker.lean.peer import Peer
from authz_server.worker.lean.streams import Held

_NO_METHOD = status_answer(GrpcCode.UNIMPLEMENTED, "there is no such method")
_AT_FAULT = status_answer(GrpcCode.INTERNAL, "the server is at fault")


class LeanServer:
    """Takes calls of these methods, by their paths, on an address that only this machine can reach."""

    def __init__(self, address: Address, handlers: Mapping[str, Handler], table_bytes: int = 0) -> None:
        """Listen. `table_bytes` is the place that peers may give the table of fields. Raises OSError."""
        self._table_bytes = table_bytes
        self._address = address
        self._handlers = dict(handlers)
        self._known_blocks = KnownBlocks()
        self._held = Held()
        self._listener = listen(address)
        self._loop = Loop(self._listener, self._connection)
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
        """Take no more calls, and wait for those in flight; after `grace_s` they are cancelled."""
        self._loop.end_within(grace_s)
        self._stopped.wait()
        remove(self._address)

    def _run(self) -> None:
        try:
            self._loop.run()
        except BaseException:  # noqa: BLE001  # the border: a worker that answers nothing must not look alive
            structlog.get_logger().critical("answering_failed", exc_info=True)
            os._exit(1)
        self._stopped.set()

    def _connection(self, peer: Peer) -> Connection:
        return Connection(partial(self._take, peer), self._known_blocks, self._held, table_bytes=self._table_bytes)

    def _take(self, peer: Peer, stream: int, head: Head, message: bytes) -> bytes | Answer | None:
        handler = self._handlers.get(head.path)
        if handler is None:
            return _NO_METHOD
        peer.write_if_late(time.monotonic())
        # Since it came, not since its turn has come.
        deadline = None if head.timeout_s is None else peer.read_at + head.timeout_s
        try:
            return handler(message, LeanCall(deadline, self._loop, peer, stream))
        except CallRefused as refusal:
            return status_answer(refusal.code, refusal.details)
        except Exception as error:  # noqa: BLE001  # the border: one call that goes wrong must not end all others
            structlog.get_logger().error("call_failed", error=type(error).__name__, exc_info=True)
            return _AT_FAULT
