"""Looks again and again for policies at their source, and says how that goes."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from msgspec import Struct

from authz_server.control.border import border
from authz_server.control.fetch_schedule import FetchSchedule
from authz_server.control.fetching import FetchFailed
from authz_server.control.sources.source import Refused, Source
from authz_server.control.sources.store import FetchedPolicies
from authz_server.documents.instants import instant
from authz_server.telemetry.control_metrics import ControlMetrics, FetchResult

PATIENCE_S = 5.0
"""How long a start waits for what is there now, where it has what was there before."""


class SourceState(Struct, frozen=True):
    """What `/readyz` says about the source."""

    place: str
    version: str | None
    """Of the policies that were fetched last: an ETag, a digest, a commit. None before the first."""
    fetched: str | None
    """When: RFC 3339, UTC."""
    failing_since: str | None
    """When fetching began to fail; None while it does not."""


class Fetcher:
    """Brings the policies of one source to their directory. What it cannot take changes nothing."""

    def __init__(
        self,
        source: Source,
        store: FetchedPolicies,
        place: str,
        schedule: FetchSchedule,
        metrics: ControlMetrics,
        on_change: Callable[[], None],
        *,
        accept_older: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_change` is called when the directory has other policies."""
        self.store = store
        self._source = source
        self._place = place
        self._schedule = schedule
        self._metrics = metrics
        self._on_change = on_change
        self._accept_older = accept_older
        self._clock = clock
        self._log = structlog.get_logger().bind(place=place)
        self._asked = asyncio.Event()
        self._turn = asyncio.Lock()
        self._seen = None if store.state is None else store.state.version
        """The version that was looked at last, good or not."""
        self._refusal: Refused | None = None
        self._failure: str | None = None
        self._failing_since: float | None = None
        schedule.due = clock()
        metrics.policies_have_source()

    async def first(self) -> None:
        """Look once; where policies of before are there, wait for it only so long."""
        # Not cancelled by our impatience: it goes on beside the start.
        self._first = asyncio.create_task(self.step())
        await asyncio.wait([self._first], timeout=None if self.store.state is None else PATIENCE_S)

    async def run(self) -> None:
        """Look whenever it is due, until cancelled."""
        while True:
            await self.step()
            self._asked.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, self._schedule.next_event() - self._clock())):
                    await self._asked.wait()

    def request(self) -> None:
        """Look soon."""
        self._schedule.due = self._clock()
        self._asked.set()

    async def step(self) -> None:
        """Look if it is due."""
        async with self._turn:
            if self._clock() < self._schedule.due:
                return
            self._schedule.begin(self._clock())
            with border("policy_source_failed", self._fail, place=self._place):
                await self._take()

    def problems(self) -> list[str]:
        """Why the policies are not those that the source has."""
        told = []
        if self._failure is not None and self._failing_since is not None:
            since = instant(self._failing_since)
            told.append(f"policies cannot be fetched since {since}: {self._failure}; {self._kept()}")
        if self._refusal is not None:
            told.append(f"what {self._place} has is refused: {self._refusal} ({self._refusal.code}); {self._kept()}")
        return told

    def state(self) -> SourceState:
        """How it stands."""
        kept, since = self.store.state, self._failing_since
        return SourceState(
            place=self._place,
            version=None if kept is None else kept.version,
            fetched=None if kept is None else instant(kept.fetched),
            failing_since=None if since is None else instant(since),
        )

    async def _take(self) -> None:
        try:
            await self._look()
        except Refused as error:
            self._refuse(error)
        except FetchFailed as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"it cannot be kept: {error.strerror or error}")

    async def _look(self) -> None:
        # What is damaged on this disk is fetched again.
        found = await self._source.fetch(None if self.store.damaged else self._seen)
        if found is None:
            self._reached("unchanged" if self._refusal is None else "refused")
            return
        accept_older, now = self._accept_older, time.time()
        changed = await asyncio.to_thread(self.store.put, found, now, accept_older=accept_older)
        self._seen, self._refusal = found.version, None
        self._reached("fetched" if changed else "unchanged")
        if changed:
            self._log.info("policies_fetched", fetched=found.version, signer=found.key)
            self._on_change()

    def _reached(self, result: FetchResult) -> None:
        self._schedule.succeed(self._clock(), random.random())  # noqa: S311  # spreads load, protects nothing
        self._metrics.policies_fetched(result, time.time())
        if self._failure is not None:
            self._log.info("policies_fetched_again")
        self._failure = self._failing_since = None

    def _refuse(self, refused: Refused) -> None:
        told = self._refusal is not None and self._refusal.version == refused.version
        self._seen, self._refusal = refused.version, refused
        self._reached("refused")
        if not told:
            problem = f"{refused} ({refused.code})"
            self._log.error("fetched_policies_refused", fetched=refused.version, problem=problem)

    def _fail(self, problem: str) -> None:
        self._schedule.fail(self._clock())
        self._metrics.policies_fetched("failed", time.time())
        if self._failing_since is None:
            self._failing_since = time.time()
        if problem != self._failure:
            self._log.error("policies_fetch_failed", problem=problem)
        self._failure = problem

    def _kept(self) -> str:
        kept = self.store.state
        return "there are none yet" if kept is None else f"those of {instant(kept.fetched)} stay"
