"""Activates snapshots on the workers in two steps, so that all of them switch or none does."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import structlog
from msgspec import Struct

from authz_server.control.process import HEARTBEAT_S, SIGN_S, WorkerGone, WorkerProcess
from authz_server.identity.api_keys import ApiKey
from authz_server.identity.revocations import Revocations
from authz_server.policy.packing import pack
from authz_server.policy.plan import Plan
from authz_server.policy.rollout import Rollout
from authz_server.worker.messages import (
    Activate,
    Activated,
    Failed,
    PackedCandidate,
    Prepare,
    Prepared,
    SigningKeys,
    frame,
)

ANSWER_S = 60.0
"""A worker that takes longer to prepare a snapshot is replaced."""


class CandidateContent(Struct, frozen=True):
    """What is asked beside the policies in force."""

    plan: Plan
    sample: int
    """The percentage of checks about which it is asked."""
    rollout: Rollout | None = None


def same_candidate(one: CandidateContent | None, other: CandidateContent | None) -> bool:
    """Whether the same is asked, in the same way; policies are compared by identity, which costs nothing."""
    if one is None or other is None:
        return one is other
    return one.plan is other.plan and (one.sample, one.rollout) == (other.sample, other.rollout)


class Content(Struct, frozen=True):
    """What a snapshot is made of."""

    plan: Plan
    keys: Mapping[str, bytes]
    """JWKS documents by the issuer's configured name."""
    bundles: Mapping[str, bytes]
    """Bundles by trust domain, PEM or JSON."""
    revocations: Revocations | None = None
    api_keys: tuple[ApiKey, ...] = ()
    signing_keys: SigningKeys | None = None
    """Of upstream tokens."""
    stale_from: float | None = None
    """Where the policies are those of an earlier run, because their directory is broken: when they began to decide
    there, in seconds since the epoch."""
    candidate: CandidateContent | None = None

    def is_like(self, other: "Content | None") -> bool:
        """Whether the other makes the same snapshot; policies are compared by identity, which costs nothing."""
        if other is None or self.plan is not other.plan:
            return False
        if not same_candidate(self.candidate, other.candidate):
            return False
        mine, others = (self.keys, self.bundles), (other.keys, other.bundles)
        return mine == others and (self.revocations, self.api_keys, self.signing_keys) == (
            other.revocations,
            other.api_keys,
            other.signing_keys,
        )


class NotActivated(Exception):
    """A worker could not prepare the snapshot; the one before still decides everywhere."""


def _nobody(_content: Content) -> None:
    """Nobody is told."""


class Publisher:
    """Knows the workers, and what they decide with."""

    def __init__(
        self,
        answer_s: float = ANSWER_S,
        on_switch: Callable[[Content], None] = _nobody,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        sign_s: float = SIGN_S,
    ) -> None:
        """`on_switch` is told in a thread of what all workers are about to switch to."""
        self._answer_s = answer_s
        self._heartbeat_s = heartbeat_s
        self._sign_s = sign_s
        self._on_switch = on_switch
        self._lock = asyncio.Lock()
        self._workers: dict[int, WorkerProcess] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        """The ends of workers that are no longer ours, and decide until then by what they have."""
        self._generation = 0
        self._active: Content | None = None
        self._base: Content | None = None
        """What each worker is sure to have, so that it can keep its policies; None while they switch."""

    @property
    def active(self) -> Content | None:
        """What the workers decide with, all of them."""
        return self._active

    @property
    def serving(self) -> frozenset[int]:
        """The slots of the workers that decide by the active snapshot."""
        if self._active is None:
            return frozenset()
        return frozenset(slot for slot, worker in self._workers.items() if worker.listens)

    async def add(self, worker: WorkerProcess) -> None:
        """Give a worker that has just started what the others have. Raises NotActivated."""
        async with self._lock:
            if self._active is not None:
                await self._prepare([worker], self._active, None)
                if not await self._activate_one(worker):
                    raise NotActivated(f"worker {worker.slot} did not switch to the snapshot")
            self._workers[worker.slot] = worker

    def remove(self, worker: WorkerProcess) -> None:
        """Forget a worker that has ended or soon will; until then nothing newer than it has is reported."""
        if self._workers.get(worker.slot) is worker:
            del self._workers[worker.slot]
            leaving = asyncio.create_task(self._see_off(worker))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def publish(self, content: Content) -> int:
        """Activate on all workers; returns the generation when nobody decides by an older one. Raises NotActivated."""
        async with self._lock:
            workers = list(self._workers.values())
            self._generation += 1
            await self._prepare(workers, content, self._base)
            # From here on nothing fails but a worker's life, and its successor waits for the lock.
            self._base = None
            await asyncio.to_thread(self._on_switch, content)
            await asyncio.gather(*(self._activate_one(worker) for worker in workers))
            await asyncio.gather(*self._leaving)
            self._base = self._active = content
            return self._generation

    async def _prepare(self, workers: list[WorkerProcess], content: Content, before: Content | None) -> None:
        plan = None if before is not None and content.plan is before.plan else content.plan
        message = Prepare(
            self._generation,
            None if plan is None else await asyncio.to_thread(pack, plan),
            dict(content.keys),
            dict(content.bundles),
            content.revocations,
            content.api_keys,
            content.signing_keys,
            content.stale_from is not None,
            await self._packed_candidate(content.candidate, None if before is None else before.candidate),
        )
        data = await asyncio.to_thread(frame, message)
        problems = await asyncio.gather(*(self._prepare_one(worker, data) for worker in workers))
        for problem in problems:
            if problem is not None:
                raise NotActivated(problem)

    async def _packed_candidate(
        self, candidate: CandidateContent | None, before: CandidateContent | None
    ) -> PackedCandidate | None:
        if candidate is None:
            return None
        is_there = before is not None and before.plan is candidate.plan
        plan = None if is_there else await asyncio.to_thread(pack, candidate.plan)
        return PackedCandidate(plan, candidate.sample, candidate.rollout)

    async def _prepare_one(self, worker: WorkerProcess, data: bytes) -> str | None:
        try:
            outcome = await self._ask(worker, partial(worker.send_frame, data, self._answer_s), Prepared)
        except WorkerGone as error:
            # Perhaps this very content ended it: it must not end the others as well.
            await self._give_up(worker, str(error))
            return f"{error} while it prepared the snapshot"
        return outcome.problem if isinstance(outcome, Failed) else None

    async def _activate_one(self, worker: WorkerProcess) -> bool:
        """Whether the worker has switched; one that has not is no more."""
        try:
            outcome = await self._ask(worker, partial(worker.send, Activate(self._generation)), Activated)
        except WorkerGone as error:
            await self._give_up(worker, str(error))
            return False
        if isinstance(outcome, Failed):
            # It would go on deciding by what was before: better that it goes.
            await self._give_up(worker, outcome.problem)
            return False
        return True

    async def _ask(
        self, worker: WorkerProcess, send: Callable[[], Awaitable[None]], wanted: type[Prepared | Activated]
    ) -> Prepared | Activated | Failed:
        async def asked() -> Prepared | Activated | Failed:
            await send()
            return await self._outcome(worker, wanted)

        async with worker.turn:
            return await worker.while_alive(asked(), self._heartbeat_s, self._sign_s)

    async def _outcome(
        self, worker: WorkerProcess, wanted: type[Prepared | Activated]
    ) -> Prepared | Activated | Failed:
        while True:
            outcome = await worker.answer((wanted, Failed), self._answer_s)
            # An answer that came too late for its own question belongs to an older generation.
            if outcome.generation == self._generation:
                return outcome

    async def _see_off(self, worker: WorkerProcess) -> None:
        if await worker.exited_within(self._answer_s) is None:
            await worker.kill()

    async def _give_up(self, worker: WorkerProcess, problem: str) -> None:
        self.remove(worker)
        structlog.get_logger().error("worker_given_up", worker=worker.slot, problem=problem)
        await worker.kill()
