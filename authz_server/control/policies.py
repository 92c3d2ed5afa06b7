"""The policies in the directory as they are now, loaded again whenever their contents have changed."""

import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import structlog

from authz_server.control.checked_file import NothingKept
from authz_server.control.kept_policies import KeptPolicies
from authz_server.control.settings import Settings
from authz_server.control.worker_settings import identity_settings
from authz_server.documents.problem import Problem
from authz_server.policy.compiler import KnownNames
from authz_server.policy.files import PolicyFile, read_directory, revision
from authz_server.policy.loader import Judge, load_files
from authz_server.policy.plan import Plan
from authz_server.telemetry.control_metrics import ControlMetrics
from authz_server.testing.gate import Gate

Read = Callable[[], tuple[list[PolicyFile], list[Problem]]]
"""Gives the files as they are now, and what is wrong with them before anybody looks into them."""


class PolicyDirectory:
    """Remembers the last good policies. Its methods block."""

    def __init__(
        self,
        directory: Path,
        known: KnownNames,
        metrics: ControlMetrics,
        last_good: KeptPolicies | None = None,
        judge: Judge | None = None,
        read: Read | None = None,
    ) -> None:
        """`last_good` is what decides where the directory is broken at the start; `judge` may refuse good policies.

        `read` reads the directory, where something must be so about all its files.
        """
        self._directory = directory
        self._known = known
        self._metrics = metrics
        self._last_good = last_good
        self._judge = judge
        self._read = read or (lambda: read_directory(directory))
        self._seen: tuple[str, tuple[Problem, ...]] | None = None
        self.plan: Plan | None = None
        """The last good policies."""
        self.files: tuple[PolicyFile, ...] = ()
        """What `plan` was made of, until somebody has taken it."""
        self.stale_from: float | None = None
        """Where `plan` is what an earlier run has kept: when it began to decide there, in seconds since the epoch."""
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the files as they are now."""

    def reread(self, *, tell_again: bool = False) -> bool:
        """Look at the contents of all files, and load them if anything has changed; whether `plan` has.

        With `tell_again` those that are bad are loaded again as well, and their problems told.
        """
        files, problems = self._read()
        seen = (revision(files), tuple(problems))
        if seen == self._seen and not (tell_again and self.problems):
            return False
        self._seen = seen
        loaded = load_files(self._directory, files, problems, self._known, self._judge)
        was_bad, self.problems = bool(self.problems), loaded.problems
        if loaded.plan is None:
            self._refuse()
            return self._fall_back()
        if self.plan is None or self.stale_from is not None or self.plan.revision != loaded.plan.revision:
            self.plan, self.files, self.stale_from = loaded.plan, tuple(files), None
            return True
        if was_bad:
            structlog.get_logger().info("policies_mended", revision=self.plan.revision)
            self._metrics.policies_activated(self.plan.revision, time.time())
        return False

    def take_files(self) -> tuple[PolicyFile, ...]:
        """The files of `plan`, which are then forgotten here."""
        files, self.files = self.files, ()
        return files

    def _fall_back(self) -> bool:
        """Take what an earlier run has kept, where there are no policies yet; whether there is any."""
        # Once: what may not be used at the start may not be used later.
        last_good, self._last_good = self._last_good, None
        if last_good is None or self.plan is not None:
            return False
        log = structlog.get_logger()
        try:
            activated, files, _ = last_good.read()
        except NothingKept as error:
            log.error("last_good_refused", file=str(last_good.path), problem=str(error))
            return False
        loaded = load_files(self._directory, files, (), self._known)
        if loaded.plan is None:
            first = str(loaded.problems[0]).partition("\n")[0]
            problem = f"it does not fit this configuration or version: {first}"
            log.error("last_good_refused", file=str(last_good.path), problem=problem)
            return False
        self.plan, self.stale_from = loaded.plan, activated
        return True

    def _refuse(self) -> None:
        self._metrics.policies_refused(len(self.problems))
        log = structlog.get_logger()
        if self.plan is None:
            log.error("policies_refused", problems=len(self.problems))
        else:
            log.error("policies_refused", problems=len(self.problems), revision_kept=self.plan.revision)
        for problem in self.problems:
            what, _, source = str(problem).partition("\n")
            log.error("policy_problem", problem=what, source=dedent(source))


def known_names(settings: Settings) -> KnownNames:
    """The names of the configuration that policies may use."""
    api_keys = [] if settings.api_keys is None else [settings.api_keys.name]
    token = settings.upstream_token
    return KnownNames(
        issuers=frozenset([*settings.issuers, *api_keys]),
        trust_domains=frozenset(settings.workloads.trust_domains),
        written_headers=frozenset() if token is None else frozenset({token.header}),
        metadata=frozenset(settings.metadata.namespaces),
    )


def required_tests(settings: Settings) -> Judge | None:
    """What policies have to pass beside having no error; None for nothing."""
    if not settings.reload.require_tests:
        return None
    return Gate(identity_settings(settings), settings.bodies.max, settings.reload.tests_limit)
