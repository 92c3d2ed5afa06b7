"""One worker process: its start, its messages, its end."""

import asyncio
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from msgspec import MsgspecError

from authz_server.bounds import MIB, Bound
from authz_server.worker.address import Address
from authz_server.worker.messages import (
    LENGTH_BYTES,
    Begun,
    Broken,
    Drain,
    Listen,
    Listening,
    Ping,
    Pong,
    Start,
    ToControl,
    ToWorker,
    TransportName,
    UnknownKey,
    WorkerSettings,
    frame,
    read_by_control,
)

_MAX_MESSAGE_BYTES = MIB
UNREAD = Bound(
    "answers of workers",
    "worker",
    entries=16,
    bytes=16 * _MAX_MESSAGE_BYTES,
    holds="Messages of a worker that the control process has not read yet.",
    full="The worker is replaced.",
    kept_in=("WorkerProcess._answers",),
)
TAKEN_S = 60.0
"""How long a worker may leave unread what is sent to it."""
HEARTBEAT_S = 2.0
"""Between two signs of life."""
SIGN_S = 5.0
"""For a sign of life; a worker that gives none is killed and replaced."""
LAST_STEPS_S = 1.0
"""From the end of a worker's socket to that of its process."""

Answer = TypeVar("Answer")


class WorkerGone(Exception):
    """The worker has ended, or does not answer."""


class WorkerBroken(Exception):
    """The worker cannot be what its settings say; says why."""


class WorkerHangs(WorkerGone):
    """The worker gives no sign of life."""


class WorkerProcess:
    """A running worker. Made by `spawn_worker`."""

    slot = -1
    """None of the slots, until `begin`."""
    listens = False
    """Whether it takes calls."""

    def __init__(
        self,
        process: Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        on_unknown_key: Callable[[str], None],
    ) -> None:
        self.turn = asyncio.Lock()
        """Held from a question to its answer: a worker deals with one at a time."""
        self._process = process
        self._reader, self._writer = streams
        self._on_unknown_key = on_unknown_key
        self._answers: asyncio.Queue[ToControl | None] = asyncio.Queue(UNREAD.entries)
        self._pings = 0
        self._ponged = asyncio.Event()
        self._receiving = asyncio.create_task(self._receive())

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended, or closed its socket."""
        return self._receiving.done()

    def when_ended(self, do: Callable[[], None]) -> None:
        """Call this in the event loop as soon as it has ended, or closed its socket."""
        self._receiving.add_done_callback(lambda _: do())

    async def begin(self, settings: WorkerSettings, timeout_s: float) -> None:
        """Tell it which worker it is. Raises WorkerGone, WorkerBroken."""
        self.slot = settings.slot
        await self._ask(Start(settings), Begun, timeout_s)

    async def listen(self, timeout_s: float) -> Address:
        """Let it take calls; returns where. Raises WorkerGone, WorkerBroken."""
        said = await self._ask(Listen(), Listening, timeout_s)
        self.listens = True
        return said.address

    async def send(self, message: ToWorker) -> None:
        """Send a message. Raises WorkerGone."""
        await self.send_frame(frame(message))

    async def send_frame(self, data: bytes, timeout_s: float = TAKEN_S) -> None:
        """Send a message that is already framed, for one that several workers get. Raises WorkerGone.

        The worker is as good as gone as well when it leaves too much of it unread for so long.
        """
        try:
            async with asyncio.timeout(timeout_s):
                self._writer.write(data)
                await self._writer.drain()
        except TimeoutError:
            raise WorkerGone(f"worker {self.slot} did not take a message within {timeout_s:g} s") from None
        except (ConnectionError, RuntimeError):
            raise WorkerGone(f"worker {self.slot} has ended") from None

    async def answer(self, expected: tuple[type[Answer], ...], timeout_s: float) -> Answer:
        """The next message of one of these types; others before it are dropped. Raises WorkerGone."""
        try:
            async with asyncio.timeout(timeout_s):
                while (message := await self._answers.get()) is not None:
                    if isinstance(message, expected):
                        return message
        except TimeoutError:
            raise WorkerGone(f"worker {self.slot} did not answer within {timeout_s:g} s") from None
        # Left for whoever asks next.
        self._answers.put_nowait(None)
        raise WorkerGone(f"worker {self.slot} has ended")

    async def ping(self, timeout_s: float) -> None:
        """Wait for a sign of life, or its end. Raises WorkerGone, WorkerHangs."""
        async with self.turn:
            await self._sign_of_life(timeout_s)

    async def while_alive(
        self, question: Coroutine[Any, Any, Answer], heartbeat_s: float = HEARTBEAT_S, sign_s: float = SIGN_S
    ) -> Answer:
        """What comes of a question that may take long, as long as there are signs of life; who asks has the turn.

        Raises WorkerGone, WorkerHangs, and what the question raises.
        """
        asking = asyncio.create_task(question)
        try:
            while not (await asyncio.wait([asking], timeout=heartbeat_s))[0]:
                await self._sign_of_life(sign_s)
            return await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _sign_of_life(self, timeout_s: float) -> None:
        self._pings += 1
        self._ponged.clear()
        if self.ended:
            raise WorkerGone(f"worker {self.slot} has ended")
        self._writer.write(frame(Ping(self._pings)))
        unread = self._writer.transport.get_write_buffer_size()
        while True:
            try:
                # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with the answer.
                async with asyncio.timeout(timeout_s):
                    await self._ponged.wait()
                    return
            except TimeoutError:
                # It answers when it has read what was sent before, which may be much; that it reads is a sign as well.
                before, unread = unread, self._writer.transport.get_write_buffer_size()
                if unread >= before:
                    raise WorkerHangs(f"worker {self.slot} did not answer within {timeout_s:g} s") from None

    async def drain(self, grace_s: float) -> None:
        """Let it finish its calls and exit; kill it when it takes longer than `grace_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s + 1):
                # One that hangs may not even take this.
                with suppress(WorkerGone):
                    await self.send(Drain(grace_s))
                await self._process.wait()
        await self.kill()

    async def kill(self) -> int:
        """End it at once if it still runs; returns the exit code, negative for a signal."""
        if self.ended:
            # A signal to a process that is just ending would hide how it ended.
            await self.exited_within(LAST_STEPS_S)
        with suppress(ProcessLookupError):
            self._process.kill()
        code = await self._process.wait()
        self._receiving.cancel()
        self._writer.close()
        return code

    async def exited_within(self, time_s: float) -> int | None:
        """Wait so long at most for its exit code, which is negative for a signal."""
        with suppress(TimeoutError):
            async with asyncio.timeout(time_s):
                return await self._process.wait()
        return None

    async def ended_within(self, time_s: float) -> bool:
        """Wait so long at most for its end; whether it has ended, or closed its socket."""
        done, _ = await asyncio.wait([self._receiving], timeout=time_s)
        return bool(done)

    async def _ask(self, message: ToWorker, expected: type[Answer], timeout_s: float) -> Answer:
        async with self.turn:
            await self.send(message)
            said: Answer | Broken = await self.answer((expected, Broken), timeout_s)
        if isinstance(said, Broken):
            raise WorkerBroken(said.problem)
        return said

    async def _receive(self) -> None:
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
                if length > _MAX_MESSAGE_BYTES:
                    return
                self._take(read_by_control(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError, MsgspecError, asyncio.QueueFull):
            # What cannot be understood is a worker to replace, like one that is gone.
            return
        finally:
            while self._answers.full():
                self._answers.get_nowait()
            self._answers.put_nowait(None)
            # Nobody needs to wait any longer for what will never come.
            self._ponged.set()

    def _take(self, message: ToControl) -> None:
        match message:
            case Pong(number):
                if number == self._pings:
                    self._ponged.set()
            case UnknownKey(issuer):
                self._on_unknown_key(issuer)
            case _:
                self._answers.put_nowait(message)


async def spawn_worker(transport: TransportName, on_unknown_key: Callable[[str], None]) -> WorkerProcess:
    """Start a process that loads what a worker with this transport needs, and waits for `begin`. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            # Last: whoever is cancelled meanwhile leaves no process behind.
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "authz_server.worker",
                str(theirs.fileno()),
                transport,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
            )
        except BaseException:
            writer.close()
            raise
    return WorkerProcess(process, (reader, writer), on_unknown_key)
