"""Requests that wait for what an issuer says about their token: a thread of its own asks, and then decides them.

The thread that answers calls waits for nothing: it hands such a request over and takes the next.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from threading import Event, Lock, Thread
from typing import Any

import structlog

from authz_server.bounds import KIB, MIB, Bound
from authz_server.errors import Reason, Refused
from authz_server.identity.introspection import MAX_ANSWER_BYTES, IntrospectionNeeded, OpaqueTokens, Result
from authz_server.identity.token import MAX_TOKEN_BYTES
from authz_server.telemetry.worker_metrics import WorkerMetrics
from authz_server.worker.introspection_client import READ_BYTES, AskingFailed, IntrospectionClient

WAITING = Bound(
    "requests that wait for an issuer",
    "worker",
    entries=1000,
    bytes=64 * MIB,
    holds="Requests until their opaque token's issuer has answered.",
    full="A request is denied: `overloaded`.",
    kept_in=("Introspector._tasks",),
)
MAX_CONNECTIONS = 32
"""Questions to the issuer at once."""
QUESTIONS = Bound(
    "questions to an issuer",
    "worker",
    entries=1000,
    bytes=1000 * (MAX_TOKEN_BYTES + 4 * KIB) + MAX_CONNECTIONS * (MAX_ANSWER_BYTES + READ_BYTES),
    holds="Tokens that are asked about, or wait for that; some of them with nobody who still waits for the answer.",
    full="A request is denied: `overloaded`.",
    kept_in=("Introspector._questions", "Introspector._tasks"),
)
ANSWER_S = 0.05
"""So long before its caller's deadline a request is denied, so that the denial comes in time."""
_TELL_S = 1.0
"""A failure is logged this often at most."""

GoOn = Callable[[Refused | None], None]


class Introspector:
    """Asks the issuer of opaque tokens; one question about a token at a time, however many requests wait for it."""

    def __init__(self, tokens: OpaqueTokens, metrics: WorkerMetrics) -> None:
        self._tokens = tokens
        self._metrics = metrics
        self._client = IntrospectionClient(tokens.settings)
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self._questions: dict[bytes, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._told = -_TELL_S
        self._lock = Lock()
        self._waiting = self._waiting_bytes = 0
        self._end = asyncio.Event()
        self._running = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._run()), name="introspection", daemon=True)
        self._thread.start()
        self._running.wait()

    def stop(self) -> None:
        """Ask no more, and forget who waits. A worker does so by ending."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def __call__(self, needed: IntrospectionNeeded, size: int, time_left_s: float | None, go_on: GoOn) -> None:
        """Ask, and go on in another thread: with None when the request can be decided, else with its denial.

        `size` is what the request holds in memory, in bytes. Returns at once. Raises Refused (`overloaded`).
        """
        with self._lock:
            if self._waiting >= WAITING.entries or self._waiting_bytes + size > WAITING.bytes:
                raise Refused(Reason.OVERLOADED, "too many requests wait for an issuer's word on their tokens")
            self._count(1, size)
        deadline = None if time_left_s is None else self._loop.time() + time_left_s - ANSWER_S
        self._loop.call_soon_threadsafe(self._begin, needed, size, deadline, go_on)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running.set()
        await self._end.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._client.close()

    def _begin(self, needed: IntrospectionNeeded, size: int, deadline: float | None, go_on: GoOn) -> None:
        self._start(self._wait(needed, size, deadline, go_on))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._loop.create_task(work)
        # The loop itself holds its tasks weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _wait(self, needed: IntrospectionNeeded, size: int, deadline: float | None, go_on: GoOn) -> None:
        refusal: Refused | None = None
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(self._question(needed))
        except TimeoutError:
            refusal = Refused(Reason.DEADLINE, "the issuer's word on the token did not come in time")
        except Refused as refused:
            refusal = refused
        finally:
            with self._lock:
                self._count(-1, -size)
        go_on(refusal)

    def _question(self, needed: IntrospectionNeeded) -> asyncio.Task[None]:
        """The question about this token, which others may have put already. Raises Refused (`overloaded`)."""
        question = self._questions.get(needed.digest)
        if question is None:
            if len(self._questions) >= QUESTIONS.entries:
                raise Refused(Reason.OVERLOADED, "too many tokens wait for their issuer's word")
            question = self._questions[needed.digest] = self._start(self._ask(needed))
        return question

    async def _ask(self, needed: IntrospectionNeeded) -> None:
        try:
            async with self._turn():
                await self._ask_now(needed)
        finally:
            del self._questions[needed.digest]

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One of the connections. Raises Refused (`overloaded`), which says nothing about the token: others may ask."""
        try:
            async with asyncio.timeout(self._tokens.settings.timeout_s):
                await self._connections.acquire()
        except TimeoutError:
            raise Refused(Reason.OVERLOADED, "too many tokens wait for their issuer's word") from None
        try:
            yield
        finally:
            self._connections.release()

    async def _ask_now(self, needed: IntrospectionNeeded) -> None:
        began = self._loop.time()
        result: Result = "failed"
        problem: str | None = None
        try:
            async with asyncio.timeout(self._tokens.settings.timeout_s):
                answer = await self._client.ask(needed.token)
            result = self._tokens.take(needed, answer, time.time())
        except TimeoutError:
            problem = f"no whole answer within {self._tokens.settings.timeout_s:g} s"
        except AskingFailed as error:
            problem = str(error)
        except ValueError as error:
            problem = f"the answer is {error}"
        except Exception as error:  # noqa: BLE001  # the border: whoever waits must be answered
            problem = f"a defect: {type(error).__name__}"
        if problem is not None:
            self._tokens.fail(needed)
            self._tell(problem)
        self._metrics.introspected(self._tokens.issuer.name, result, self._loop.time() - began)

    def _tell(self, problem: str) -> None:
        now = self._loop.time()
        if now - self._told >= _TELL_S:
            self._told = now
            structlog.get_logger().error("introspection_failed", issuer=self._tokens.issuer.name, problem=problem)

    def _count(self, requests: int, size: int) -> None:
        self._waiting += requests
        self._waiting_bytes += size
        self._metrics.introspections_waiting(self._waiting)
