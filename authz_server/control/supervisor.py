"""Keeps the worker of each slot alive."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from msgspec import Struct

from authz_server.control.crashes import Crashes
from authz_server.control.errors import CannotStart
from authz_server.control.process import (
    HEARTBEAT_S,
    LAST_STEPS_S,
    SIGN_S,
    WorkerBroken,
    WorkerGone,
    WorkerHangs,
    WorkerProcess,
)
from authz_server.control.publisher import NotActivated, Publisher
from authz_server.control.spare import Spare
from authz_server.worker.address import Address
from authz_server.worker.messages import WorkerSettings


class Patience(Struct, frozen=True):
    """How long the supervisor waits for what, in seconds."""

    start: float = 60.0
    heartbeat: float = HEARTBEAT_S
    """Between two signs of life."""
    answer: float = SIGN_S
    """For a sign of life."""
    first_pause: float = 0.1
    """Before the second replacement within a minute; the first needs none, and each further one twice as much."""
    longest_pause: float = 10.0


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
        self._settings = {settings.slot: settings for settings in workers}
        self._publisher = publisher
        self._on_endpoints = on_endpoints
        self._on_restart = on_restart
        self._patience = patience = patience or Patience()
        self._spare = Spare(workers[0].transport, on_unknown_key)
        self._crashes = {slot: Crashes(patience.first_pause, patience.longest_pause) for slot in self._settings}
        self._running: dict[int, WorkerProcess] = {}
        self._addresses: dict[int, Address] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._making_spares: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> dict[int, Address]:
        """Where the workers listen, by slot."""
        return dict(self._addresses)

    def pids(self) -> dict[int, int]:
        """The processes that run, by slot."""
        return {slot: worker.pid for slot, worker in self._running.items()}

    def problems(self) -> list[str]:
        """The workers that end again and again, and why."""
        told = {slot: crashes.problem for slot, crashes in self._crashes.items()}
        return [f"worker {slot} {problem}" for slot, problem in sorted(told.items()) if problem is not None]

    async def start(self) -> None:
        """Start all workers; returns when each of them listens. Raises CannotStart."""
        try:
            async with asyncio.TaskGroup() as group:
                starts = {slot: group.create_task(self._start(slot)) for slot in self._settings}
        except BaseException as error:
            await asyncio.gather(*(worker.kill() for worker in self._running.values()))
            self._running.clear()
            if isinstance(error, ExceptionGroup):
                raise error.exceptions[0] from None
            raise
        for slot, start in starts.items():
            self._tasks[slot] = asyncio.create_task(self._keep(slot, start.result()))

    def have_spare(self) -> None:
        """From now on a spare process waits for a worker to end; call it when nothing else needs the processor."""
        self._making_spares = asyncio.create_task(self._spare.run())
        self._spare.make()

    async def drain(self, grace_s: float) -> None:
        """Let all workers finish their calls and exit, within `grace_s` and a second."""
        tasks = [*self._tasks.values(), *([] if self._making_spares is None else [self._making_spares])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(worker.drain(grace_s) for worker in list(self._running.values())))
        self._running.clear()

    async def replace(self, workers: Sequence[WorkerSettings], grace_s: float) -> None:
        """Let one worker after the other finish its calls, and start its successor with these settings.

        Raises CannotStart where one cannot start with them; then all have those of before.
        """
        before, begun = dict(self._settings), []
        for settings in workers:
            begun.append(settings.slot)
            try:
                await self._replace(settings, grace_s)
            except CannotStart:
                for slot in begun:
                    with suppress(CannotStart):
                        await self._replace(before[slot], grace_s)
                raise

    async def _replace(self, settings: WorkerSettings, grace_s: float) -> None:
        slot = settings.slot
        task = self._tasks[slot]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        worker = self._running.get(slot)
        if worker is not None:
            self._withdraw(worker)
            await worker.drain(grace_s)
            del self._running[slot]
        self._settings[slot] = settings
        try:
            successor = await self._start(slot)
        except CannotStart:
            self._tasks[slot] = asyncio.create_task(self._revive(slot))
            raise
        self._tasks[slot] = asyncio.create_task(self._keep(slot, successor))
        self._spare.make()

    async def _revive(self, slot: int) -> None:
        await self._keep(slot, await self._restart(slot))

    async def _keep(self, slot: int, worker: WorkerProcess) -> None:
        """Watch the worker of a slot, and replace it as often as it ends."""
        log = structlog.get_logger().bind(worker=slot)
        while True:
            problem = await self._watch(worker)
            self._crashes[slot].add(problem)
            code = await self._end(worker)
            log.error("worker_ended", exit_code=code, problem=problem)
            worker = await self._restart(slot)
            log.info("worker_started")

    async def _restart(self, slot: int) -> WorkerProcess:
        """Start the worker of a slot, however often that takes."""
        while True:
            await asyncio.sleep(self._crashes[slot].pause_s)
            self._on_restart(slot)
            try:
                worker = await self._start(slot)
            except CannotStart as error:
                self._crashes[slot].add(str(error))
                structlog.get_logger().error("worker_cannot_start", worker=slot, problem=str(error))
            else:
                self._spare.make()
                return worker

    async def _start(self, slot: int) -> WorkerProcess:
        try:
            worker = await self._spare.take()
        except OSError as error:
            raise CannotStart(f"worker {slot} cannot be started: {error}") from None
        self._running[slot] = worker
        try:
            await worker.begin(self._settings[slot], self._patience.start)
            # Before it listens: whoever has asked its predecessor would be told that it is not ready.
            await self._publisher.add(worker)
            self._addresses[slot] = await worker.listen(self._patience.start)
        except WorkerGone as error:
            raise CannotStart(f"{error} (exit code {await self._end(worker)})") from None
        except (NotActivated, WorkerBroken) as error:
            await self._end(worker)
            raise CannotStart(str(error)) from None
        self._on_endpoints(self.addresses)
        return worker

    async def _watch(self, worker: WorkerProcess) -> str:
        """Returns when the worker has ended or hangs, with what is known of the reason."""
        while not await worker.ended_within(self._patience.heartbeat):
            try:
                await worker.ping(self._patience.answer)
            except WorkerHangs as error:
                return f"{error}, and was killed"
            except WorkerGone:
                break
        # Whoever asks it now would ask in vain.
        self._withdraw(worker)
        # Its own end says more than ours would.
        return _ending(await worker.exited_within(LAST_STEPS_S))

    async def _end(self, worker: WorkerProcess) -> int:
        self._withdraw(worker)
        self._running.pop(worker.slot, None)
        # Whoever is cancelled meanwhile leaves nothing half closed.
        return await asyncio.shield(worker.kill())

    def _withdraw(self, worker: WorkerProcess) -> None:
        """Let nobody ask it any more."""
        self._publisher.remove(worker)
        if self._addresses.pop(worker.slot, None) is not None:
            self._on_endpoints(self.addresses)


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
