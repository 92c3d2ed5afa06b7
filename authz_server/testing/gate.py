"""Lets only policies pass whose tests pass."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from authz_server.bounds import MIB, Bound
from authz_server.documents.problem import Position, Problem
from authz_server.documents.suggest import quoted
from authz_server.identity.settings import IdentitySettings
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import Plan
from authz_server.testing.cases import BoundCase, cases_of
from authz_server.testing.engine import Engine
from authz_server.testing.runner import Outcome

CASES = Bound(
    "tests of an edit",
    "server",
    entries=50_000,
    bytes=64 * MIB,
    holds="The tests that policies have to pass (`reload.require_tests`), while they are run.",
    full="The edit is refused (`too_many_tests`), and the last good policies stay.",
)
MAX_FAILURES = 20
"""That are told; the tests after them are not run."""


class Gate:
    """Runs the tests of policies that have no error, within bounds."""

    def __init__(
        self,
        settings: IdentitySettings,
        max_body: int,
        limit_s: float,
        *,
        max_cases: int = CASES.entries,
        now: Callable[[], float] = time.time,
        used: Callable[[], float] = time.thread_time,
    ) -> None:
        """`limit_s` is the CPU time that the tests may take, of which `used` knows how much the thread has used."""
        self._settings = settings
        self._max_body = max_body
        self._limit_s = limit_s
        self._max_cases = max_cases
        self._now = now
        self._used = used

    def __call__(self, plan: Plan, files: Sequence[ParsedFile]) -> list[Problem]:
        """What keeps these policies from passing: the first tests that fail, or why they could not be run."""
        return list(islice(self._problems(plan, files), MAX_FAILURES))

    def _problems(self, plan: Plan, files: Sequence[ParsedFile]) -> Iterator[Problem]:
        begun = self._used()
        cases = list(islice(cases_of(files, self._now()), self._max_cases + 1))
        if not cases:
            yield _no_tests(files)
            return
        if len(cases) > self._max_cases:
            message = f"there are over {self._max_cases:,} tests, with all combinations"
            yield _about(cases[-1], "too_many_tests", message, "split the policies, or leave tests to `authz test`")
            return
        engine = Engine(plan, self._settings, self._max_body, cases)
        for number, case in enumerate(cases):
            if self._used() - begun > self._limit_s:
                message = f"after {number:,} of {len(cases):,} tests their time was up: {self._limit_s:g} s of CPU"
                yield _about(case, "tests_too_slow", message, "write fewer, or raise `reload.tests_limit`")
                return
            outcome = Outcome(case, engine.decide(case))
            if not outcome.passed:
                message = f"the test {quoted(case.name)} fails: expected {outcome.expected}, was {outcome.actual}"
                yield _about(case, "test_failed", message, "`authz test` says why")


def _about(case: BoundCase, code: str, message: str, hint: str) -> Problem:
    return case.document.problem(case.path, code, message, hint, key=case.at_key)


def _no_tests(files: Sequence[ParsedFile]) -> Problem:
    first = min(parsed.file.shown for parsed in files)
    message = "the policies have no test, and `reload.require_tests` asks for them"
    return Problem(Position(first, 1, 1), "no_tests", message, "write a file such as `orders_test.yaml`")
