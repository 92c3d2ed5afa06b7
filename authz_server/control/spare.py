"""A process that has loaded everything, and waits to take the place of a worker that ends."""

import asyncio
from collections.abc import Callable

import structlog

from authz_server.control.process import WorkerProcess, spawn_worker
from authz_server.worker.messages import TransportName

PAUSE_S = 1.0
"""Before another one is made where one has ended by itself."""


class Spare:
    """One for all slots: to start a process takes longer than all that it does then."""

    def __init__(self, transport: TransportName, on_unknown_key: Callable[[str], None]) -> None:
        self._transport = transport
        self._on_unknown_key = on_unknown_key
        self._waiting: WorkerProcess | None = None
        self._wanted = asyncio.Event()

    async def take(self) -> WorkerProcess:
        """The process that waits, or a fresh one where there is none. Raises OSError."""
        worker = self._waiting
        if worker is not None and not worker.ended:
            self._waiting = None
            return worker
        return await spawn_worker(self._transport, self._on_unknown_key)

    def make(self) -> None:
        """Have another one made, now that its start takes no time from somebody else's."""
        self._wanted.set()

    async def run(self) -> None:
        """Make one whenever one is wanted, until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                if self._waiting is not None and self._waiting.ended:
                    await self._waiting.kill()
                    self._waiting = None
                    await asyncio.sleep(PAUSE_S)
                if self._waiting is None:
                    await self._make()
        finally:
            if self._waiting is not None:
                await self._waiting.kill()

    async def _make(self) -> None:
        try:
            worker = self._waiting = await spawn_worker(self._transport, self._on_unknown_key)
        except OSError as error:
            structlog.get_logger().error("spare_not_started", problem=error.strerror or str(error))
            return
        worker.when_ended(lambda: self._lost(worker))

    def _lost(self, worker: WorkerProcess) -> None:
        if self._waiting is worker:
            self._wanted.set()
