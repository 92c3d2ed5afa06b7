"""The candidate of a server: what is asked beside the policies in force, and for whom it decides."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from authz_server.control.border import border
from authz_server.control.candidate_directory import CandidateDirectory
from authz_server.control.fall_back import LOOK_S, FallBack
from authz_server.control.publisher import CandidateContent
from authz_server.control.revisions import Revisions
from authz_server.control.settings.candidate import CandidateSettings
from authz_server.control.watcher import watch
from authz_server.documents.problem import Problem
from authz_server.policy.compiler import KnownNames
from authz_server.policy.files import PolicyFile
from authz_server.policy.loader import Judge
from authz_server.policy.plan import Plan
from authz_server.policy.rollout import Rollout
from authz_server.telemetry.control_metrics import ControlMetrics


class Candidate:
    """Follows the directory and the settings of the candidate; whatever is wrong with it changes nothing else."""

    def __init__(
        self,
        settings: CandidateSettings | None,
        known: KnownNames,
        judge: Judge | None,
        fall_back: FallBack,
        kept: Revisions,
        metrics: ControlMetrics,
    ) -> None:
        """`judge` may refuse good policies; `kept` takes the texts, by which decisions of before are explained."""
        self._known = known
        self._judge = judge
        self._fall_back = fall_back
        self._kept = kept
        self._metrics = metrics
        self._active: CandidateContent | None = None
        self._refused: Plan | None = None
        """What the workers could not prepare."""
        self._activation_problem: str | None = None
        self._unkept: str | None = None
        self._changed = asyncio.Event()
        self._settings: CandidateSettings | None = None
        self._directory: CandidateDirectory | None = None
        self.follow(settings)

    def follow(self, settings: CandidateSettings | None) -> None:
        """From now on by these settings."""
        self._settings = settings
        if settings is None:
            self._directory = None
        elif self._directory is None or self._directory.path != settings.directory:
            self._directory = CandidateDirectory(settings.directory, self._known, self._judge)
        self._changed.set()

    def reread(self, *, tell_again: bool = False) -> None:
        """Look at all files, and load what has changed; a failure of ours changes nothing. Blocks."""
        directory = self._directory
        if tell_again:
            self._refused = None
        with border("candidate_failed", self._failed):
            if directory is not None:
                directory.reread(tell_again=tell_again)
                self._fall_back.reread()
        self._metrics.candidate_problems(0 if directory is None else len(directory.problems))

    def content(self, in_force: Plan) -> CandidateContent | None:
        """What is to be asked beside these policies: nothing where the candidate is the same."""
        directory, settings = self._directory, self._settings
        if directory is None or settings is None or directory.plan is None:
            return None
        plan: Plan | None = directory.plan
        if plan is self._refused:
            # The last one stays, and whether it decides for anybody is asked anew.
            plan = None if self._active is None else self._active.plan
        if plan is None or plan.revision == in_force.revision:
            return None
        share = settings.rollout
        if share is None or self._fall_back.stops(plan.revision):
            return CandidateContent(plan, settings.sample)
        return CandidateContent(plan, settings.sample, Rollout(share.percent, share.by))

    def refuse(self, problem: str) -> None:
        """The workers could not prepare the newest candidate."""
        plan = None if self._directory is None else self._directory.plan
        # What the workers have already is nothing that they cannot have: that is tried again.
        if self._active is None or plan is not self._active.plan:
            self._refused = plan
        self._activation_problem = problem
        structlog.get_logger().error("candidate_not_activated", problem=problem)

    async def activated(self, content: CandidateContent | None) -> None:
        """The workers ask this one from now on, and have not before."""
        before, self._active = self._active, content
        settings, log = self._settings, structlog.get_logger()
        rollout = None if content is None else content.rollout
        watched = None if content is None or rollout is None else content.plan.revision
        await asyncio.to_thread(self._fall_back.watch, watched, None if settings is None else settings.fall_back)
        self._metrics.rolled_out(0 if rollout is None else rollout.percent)
        if content is None:
            is_there = self._directory is not None and self._directory.plan is not None
            log.info("candidate_in_force" if is_there else "candidate_gone")
            return
        is_new = before is None or before.plan is not content.plan
        if self._directory is not None and self._directory.plan is content.plan:
            self._activation_problem = None
            if is_new:
                await asyncio.to_thread(self._keep, self._directory.files)
        shares = {} if rollout is None else {"percent": rollout.percent, "by": rollout.by}
        event = "candidate_loaded" if is_new else "candidate_changed"
        log.info(event, revision=content.plan.revision, sample=content.sample, **shares)

    async def run(self, on_change: Callable[[], None]) -> None:
        """Tell of changes, and let a roll-out fall back that denies too much, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(on_change))
            group.create_task(self._look(on_change))

    def problems(self) -> list[str]:
        """What is wrong with the candidate, and what became of its roll-out."""
        told, directory = self._fall_back.problems(), self._directory
        if directory is None:
            return told
        if directory.problems:
            asked = "none is asked" if self._active is None else "the last good one is asked"
            told.append(f"{_counted(directory.problems)} in the files of the candidate; {asked}")
        if self._activation_problem is not None:
            told.append(f"the newest candidate could not be activated: {self._activation_problem}")
        if self._unkept is not None:
            told.append(f"the candidate is not kept: {self._unkept}")
        fallen, plan = self._fall_back.fallen, directory.plan
        if fallen is not None and plan is not None and self._fall_back.stops(plan.revision):
            told.append(f"the roll-out fell back: {fallen.why}; {fallen.to_do}")
        return told

    def _failed(self, problem: str) -> None:
        self._activation_problem = problem

    def _keep(self, files: Sequence[PolicyFile]) -> None:
        try:
            self._kept.write(files, time.time())
        except OSError as error:
            self._unkept = error.strerror or str(error)
            path = str(self._kept.directory)
            structlog.get_logger().error("candidate_not_kept", file=path, problem=self._unkept)
        else:
            self._unkept = None

    async def _watch(self, on_change: Callable[[], None]) -> None:
        """Where its directory is may change."""
        while True:
            self._changed.clear()
            directory = self._directory
            watching = None if directory is None else asyncio.create_task(watch(directory.path, (), on_change))
            try:
                await self._changed.wait()
            finally:
                if watching is not None:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)

    async def _look(self, on_change: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._fall_back.watches and await asyncio.to_thread(self._fall_back.look):
                self._metrics.rollout_fell_back()
                on_change()


def _counted(problems: Sequence[Problem]) -> str:
    count, first = len(problems), problems[0]
    return f"{count} problem{'' if count == 1 else 's'} ({first.place}: {first.code})"
