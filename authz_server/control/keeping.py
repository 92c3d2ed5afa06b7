"""Brings policies that have been activated to disk, beside everything else: a slow disk holds no change up for long.

They go to two places: the one for the next start, and the one for all revisions.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from msgspec import Struct

from authz_server.bounds import Bound
from authz_server.control.kept_policies import KeptPolicies, Size
from authz_server.control.revisions import Revisions
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
    size: Size | None


class Keeper:
    """Writes the policies that decide, one version at a time; of those that wait only the latest."""

    def __init__(
        self,
        last_good: KeptPolicies | None,
        metrics: ControlMetrics,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.time,
        revisions: Revisions | None = None,
    ) -> None:
        """Without `last_good` nothing is kept for a start, without `revisions` nothing of what decided before."""
        self._last_good = last_good
        self._revisions = revisions
        self._metrics = metrics
        self._patience_s = patience_s
        self._clock = clock
        self._wanted: _Wanted | None = None
        self._writing: asyncio.Task[None] | None = None
        self.problem: str | None = None
        """Why what decides is not on disk."""

    async def keep(self, files: Sequence[PolicyFile], size: Size | None = None) -> None:
        """Keep these, which have just been activated; returns when they are on disk, or cannot be soon."""
        self._wanted = _Wanted(files, self._clock(), size)
        if self._last_good is not None:
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
            self._tell("it takes long to write it", "policies_not_kept", None)

    async def _write(self) -> None:
        while (wanted := self._wanted) is not None:
            if not (await self._write_last_good(wanted) and await self._write_revision(wanted)):
                return
            if self._wanted is wanted:
                self._wanted = None
        self.problem = None

    async def _write_last_good(self, wanted: _Wanted) -> bool:
        if self._last_good is None:
            return True
        try:
            # What is there is older than what decides, and must not come back, however long the other takes.
            await asyncio.to_thread(self._last_good.remove)
            await asyncio.to_thread(self._last_good.write, wanted.files, wanted.activated, wanted.size)
        except OSError as error:
            self._tell(error.strerror or str(error), "last_good_not_kept", self._last_good.path)
            return False
        self._metrics.policies_kept(kept=self._wanted is wanted)
        return True

    async def _write_revision(self, wanted: _Wanted) -> bool:
        if self._revisions is None:
            return True
        try:
            await asyncio.to_thread(self._revisions.write, wanted.files, wanted.activated, wanted.size)
        except OSError as error:
            self._tell(error.strerror or str(error), "revision_not_kept", self._revisions.directory)
            return False
        return True

    def _tell(self, problem: str, event: str, file: Path | None) -> None:
        if problem != self.problem:
            structlog.get_logger().error(event, **{} if file is None else {"file": str(file)}, problem=problem)
        self.problem = problem
