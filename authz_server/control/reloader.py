"""Brings what has changed, policies, keys or bundles, to the workers as one snapshot."""

import asyncio
import time
from collections.abc import Callable

import structlog
from msgspec.structs import replace

from authz_server.control.border import border
from authz_server.control.candidate import Candidate
from authz_server.control.keeping import Keeper
from authz_server.control.kept_policies import size_of
from authz_server.control.policies import PolicyDirectory
from authz_server.control.publisher import Content, NotActivated, Publisher, same_candidate
from authz_server.control.trust import Trust
from authz_server.documents.instants import instant
from authz_server.policy.collection import without_collection
from authz_server.telemetry.control_metrics import ControlMetrics

_LONGEST_PAUSE_S = 60.0


class Reloader:
    """Looks at everything again when asked to, and every `rescan_s` seconds anyway."""

    def __init__(
        self,
        policies: PolicyDirectory,
        trust: Trust,
        publisher: Publisher,
        metrics: ControlMetrics,
        rescan_s: float,
        clock: Callable[[], float] = time.monotonic,
        keeper: Keeper | None = None,
        candidate: Candidate | None = None,
    ) -> None:
        """`keeper` brings to disk what has been activated."""
        self._policies = policies
        self._trust = trust
        self._publisher = publisher
        self._metrics = metrics
        self._rescan_s = rescan_s
        self._clock = clock
        self._keeper = keeper
        self._candidate = candidate
        self._wanted = asyncio.Event()
        self._told_to = False
        """Somebody asked, and waits for an answer in the log."""
        self._refused: Content | None = None
        """What the workers could not prepare."""
        self._pause_s = rescan_s
        self._retry_at = 0.0
        self.activation_problem: str | None = None
        """Why the workers do not have what is in the files, although that is good."""

    def request(self) -> None:
        """Look soon."""
        self._wanted.set()

    def reload(self) -> None:
        """Look soon, try again what failed, and log what came of it, even where nothing has changed."""
        self._told_to = True
        self._wanted.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._wanted.clear()
            await self.step()
            try:
                async with asyncio.timeout(self._rescan_s):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def read_ahead(self) -> None:
        """Read the policies, for the first step to publish."""
        with border("reload_failed", self._failed):
            await asyncio.to_thread(self._read_first)

    async def step(self) -> None:
        """Look at all files now, and publish what has changed; a failure of ours changes nothing."""
        with border("reload_failed", self._failed):
            await self._step()

    def _failed(self, problem: str) -> None:
        self.activation_problem = problem

    def _read_first(self) -> None:
        # What a server has at its start, it has for long.
        with without_collection(freeze=True):
            self._policies.reread()
            if self._candidate is not None:
                self._candidate.reread()

    async def _step(self) -> None:
        told_to, self._told_to = self._told_to, False
        was_bad = bool(self._policies.problems)
        await asyncio.to_thread(self._trust.reread, tell_again=told_to)
        await asyncio.to_thread(self._policies.reread, tell_again=told_to)
        if self._candidate is not None:
            await asyncio.to_thread(self._candidate.reread, tell_again=told_to)
        if self._keeper is not None:
            await self._keeper.go_on()
        if self._policies.plan is None or self._trust.holds_back:
            return
        trust = self._trust
        content = Content(
            self._policies.plan,
            trust.keys(),
            trust.bundles(),
            trust.revocations(),
            trust.api_keys(),
            trust.signing_keys(),
            stale_from=self._policies.stale_from,
            candidate=None if self._candidate is None else self._candidate.content(self._policies.plan),
        )
        if content.is_like(self._publisher.active):
            if told_to and not was_bad and not self._policies.problems:
                structlog.get_logger().info("policies_unchanged", revision=content.plan.revision)
            return
        if told_to or not content.is_like(self._refused):
            self._pause_s, self._retry_at = self._rescan_s, 0.0
        elif self._clock() < self._retry_at:
            return
        await self._publish(content)

    async def _publish(self, content: Content) -> None:
        log = structlog.get_logger()
        before = self._publisher.active
        try:
            generation = await self._publisher.publish(content)
        except NotActivated as error:
            others = self._without_candidate(content, before, str(error))
            if others is not None:
                if not others.is_like(before):
                    await self._publish(others)
                return
            # What ends a worker today may end it tomorrow: less and less often.
            self._refused = content
            self._retry_at = self._clock() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self.activation_problem = str(error)
            log.error("snapshot_refused", revision=content.plan.revision, problem=str(error))
            return
        self._refused = self.activation_problem = None
        candidate_is_as_before = same_candidate(content.candidate, None if before is None else before.candidate)
        if before is None or before.plan is not content.plan:
            await self._told_of_policies(content, generation, "policies_reloaded" if before else "policies_loaded")
        elif before.revocations != content.revocations:
            log.info("revocations_reloaded", generation=generation)
        elif before.api_keys != content.api_keys:
            log.info("api_keys_reloaded", generation=generation)
        elif candidate_is_as_before:
            log.info("keys_reloaded", generation=generation)
        if self._candidate is not None and not candidate_is_as_before:
            await self._candidate.activated(content.candidate)

    def _without_candidate(self, content: Content, before: Content | None, problem: str) -> Content | None:
        """What is left where perhaps the candidate is what no worker can prepare; None where it is not a new one.

        It must keep nothing else out.
        """
        kept = None if before is None else before.candidate
        if self._candidate is None or content.candidate is None or same_candidate(content.candidate, kept):
            return None
        self._candidate.refuse(problem)
        return replace(content, candidate=kept)

    async def _told_of_policies(self, content: Content, generation: int, event: str) -> None:
        """Report policies that decide, those of the directory when they are on disk as well."""
        plan, stale_from = content.plan, content.stale_from
        about: dict[str, object] = {
            "revision": plan.revision,
            **size_of(plan)._asdict(),
            "generation": generation,
        }
        if stale_from is not None:
            self._metrics.policies_stale(plan.revision, stale_from)
            structlog.get_logger().error("policies_stale", activated=instant(stale_from), **about)
            return
        files = self._policies.take_files()
        if self._keeper is not None:
            await self._keeper.keep(files, size_of(plan))
        self._metrics.policies_activated(plan.revision, time.time(), len(self._policies.problems))
        structlog.get_logger().info(event, **about)
