"""Keeps the worker of each slot alive."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct

from authz_server.control.errors import CannotStart
from authz_server.control.process import LAST_STEPS_S, WorkerGone, WorkerProcess, spawn_worker
from authz_server.control.publisher import NotActivated, Publisher
from authz_server.worker.address import Address
from authz_server.worker.messages import Broken, Listening, WorkerSettings


class Patience(Struct, frozen=True):
    """How long the supervisor waits for what, in seconds."""

    start: float = 60.0
    heartbeat: float = 2.0
    """Between two signs of life."""
    answer: float = 10.0
    """For a sign of life; a worker that gives none is killed and replaced."""
    first_backoff: float = 0.1
    longest_backoff: float = 10.0
    stable: float = 30.0
    """A worker that lived so long is replaced at once again."""


class Supervisor:
    """Starts the workers, replaces those that end or hang, and ends them."""

    def __init__(
        self,
        workers: Sequence[WorkerSettings],
        publisher: Publisher,
        *,
        on_unknown_key: Callable[[str], None],
        on_endpoints: Callable[[dict[int, Address]], None],
        on_restart: Callable[[int], None],
        patience: Patience | None = None,
    ) -> None:
        """`on_endpoints` gets the addresses of the workers that listen, by slot, whenever they change."""
        self._settings = workers
        self._publisher = publisher
        self._on_unknown_key = on_unknown_key
        self._on_endpoints = on_endpoints
        self._on_restart = on_restart
        self._patience = patience or Patience()
        self._running: dict[int, WorkerProcess] = {}
        self._addresses: dict[int, Address] = {}
        self._slots: list[asyncio.Task[None]] = []

    @property
    def addresses(self) -> dict[int, Address]:
        """Where the workers listen, by slot."""
        return dict(self._addresses)

    def pids(self) -> dict[int, int]:
        """The processes that run, by slot."""
        return {slot: worker.pid for slot, worker in self._running.items()}

    async def start(self) -> None:
        """Start all workers; returns when each of them listens. Raises CannotStart."""
        try:
            async with asyncio.TaskGroup() as group:
                starts = [group.create_task(self._start(settings)) for settings in self._settings]
        except BaseException as error:
            await asyncio.gather(*(worker.kill() for worker in self._running.values()))
            self._running.clear()
            if isinstance(error, ExceptionGroup):
                raise error.exceptions[0] from None
            raise
        self._slots = [
            asyncio.create_task(self._keep(settings, start.result()))
            for settings, start in zip(self._settings, starts, strict=True)
        ]

    async def drain(self, grace_s: float) -> None:
        """Let all workers finish their calls and exit, within `grace_s` and a second."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        await asyncio.gather(*(worker.drain(grace_s) for worker in list(self._running.values())))
        self._running.clear()

    async def _keep(self, settings: WorkerSettings, worker: WorkerProcess) -> None:
        """Watch the worker of a slot, and replace it as often as it ends."""
        backoff = self._patience.first_backoff
        while True:
            started = time.monotonic()
            problem = await self._watch(worker)
            code = await self._end(worker)
            structlog.get_logger().error("worker_ended", worker=settings.slot, exit_code=code, problem=problem)
            if time.monotonic() - started >= self._patience.stable:
                backoff = self._patience.first_backoff
            while True:
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, self._patience.longest_backoff)
                self._on_restart(settings.slot)
                try:
                    worker = await self._start(settings)
                    structlog.get_logger().info("worker_started", worker=settings.slot)
                    break
                except CannotStart as error:
                    structlog.get_logger().error("worker_cannot_start", worker=settings.slot, problem=str(error))

    async def _start(self, settings: WorkerSettings) -> WorkerProcess:
        try:
            worker = await spawn_worker(settings, self._on_unknown_key)
        except (OSError, WorkerGone) as error:
            raise CannotStart(f"worker {settings.slot} cannot be started: {error}") from None
        self._running[settings.slot] = worker
        try:
            said: Listening | Broken = await worker.answer((Listening, Broken), self._patience.start)
            if isinstance(said, Broken):
                raise CannotStart(said.problem)
            self._addresses[settings.slot] = said.address
            await self._publisher.add(worker)
        except WorkerGone as error:
            raise CannotStart(f"{error} (exit code {await self._end(worker)})") from None
        except NotActivated as error:
            await self._end(worker)
            raise CannotStart(str(error)) from None
        except CannotStart:
            await self._end(worker)
            raise
        self._on_endpoints(self.addresses)
        return worker

    async def _watch(self, worker: WorkerProcess) -> str:
        """Returns when the worker has ended or hangs, with what is known of the reason."""
        while True:
            try:
                await worker.ping(self._patience.answer)
            except WorkerGone as error:
                if not await worker.ended_within(LAST_STEPS_S):
                    return f"{error}, and was killed"
            if await worker.ended_within(self._patience.heartbeat):
                # Its own end says more than ours would.
                return _ending(await worker.exited_within(LAST_STEPS_S))

    async def _end(self, worker: WorkerProcess) -> int:
        self._publisher.remove(worker)
        self._running.pop(worker.slot, None)
        if self._addresses.pop(worker.slot, None) is not None:
            self._on_endpoints(self.addresses)
        return await worker.kill()


def _ending(code: int | None) -> str:
    """How a process ended, in words of people."""
    if code is None:
        return "it hung up without ending, and was killed"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"{name} ended it"
    return f"it ended by itself with exit code {code}"
