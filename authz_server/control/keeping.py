"""Brings policies that have been activated to disk, beside everything else: a slow disk holds no change up for long."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from msgspec import Struct

from authz_server.bounds import Bound
from authz_server.control.last_good import LastGood
from authz_server.policy.files import POLICIES, PolicyFile
from authz_server.telemetry.control_metrics import ControlMetrics

KEPT = Bound(
    "policies to keep",
    "server",
    entries=2 * POLICIES.entries,
    bytes=2 * POLICIES.bytes,
    holds="The text of policies that decide, until it is on disk, and of those before it that are being written.",
    full="Of those that wait for the disk, the latest stay.",
)
PATIENCE_S = 2.0
"""A change is reported when it is on disk too, but waits no longer than this for that."""


class _Wanted(Struct, frozen=True):
    files: Sequence[PolicyFile]
    activated: float


class Keeper:
    """Writes the policies that decide, one version at a time; of those that wait only the latest."""

    def __init__(
        self,
        last_good: LastGood,
        metrics: ControlMetrics,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._last_good = last_good
        self._metrics = metrics
        self._patience_s = patience_s
        self._clock = clock
        self._wanted: _Wanted | None = None
        self._writing: asyncio.Task[None] | None = None
        self.problem: str | None = None
        """Why what decides is not on disk."""

    async def keep(self, files: Sequence[PolicyFile]) -> None:
        """Keep these, which have just been activated; returns when they are on disk, or cannot be soon."""
        self._wanted = _Wanted(files, self._clock())
        self._metrics.policies_kept(kept=False)
        await self.go_on()

    async def go_on(self) -> None:
        """Try again what could not be kept, if anything."""
        if self._wanted is None:
            return
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        await asyncio.wait([self._writing], timeout=self._patience_s)
        if not self._writing.done():
            self._tell("it takes long to write it")

    async def _write(self) -> None:
        while (wanted := self._wanted) is not None:
            try:
                await asyncio.to_thread(self._last_good.write, wanted.files, wanted.activated)
            except OSError as error:
                # What is there is older than what decides, and must not come back.
                with suppress(OSError):
                    await asyncio.to_thread(self._last_good.remove)
                self._tell(error.strerror or str(error))
                return
            if self._wanted is wanted:
                self._wanted = None
        self.problem = None
        self._metrics.policies_kept(kept=True)

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            structlog.get_logger().error("last_good_not_kept", file=str(self._last_good.path), problem=problem)
        self.problem = problem
