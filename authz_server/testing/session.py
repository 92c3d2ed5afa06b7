"""One run of the tests of a directory: the cases, then what they cover, then what they notice."""

from collections.abc import Callable, Iterable, Sequence

from authz_server.identity.settings import IdentitySettings
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import Plan
from authz_server.testing.cases import BoundCase, cases_of
from authz_server.testing.coverage import Coverage, coverage_of
from authz_server.testing.engine import Engine
from authz_server.testing.facts import Facts, facts_of
from authz_server.testing.mutants import Mutant
from authz_server.testing.mutation import Mutation
from authz_server.testing.report import Failure, Survivors
from authz_server.testing.runner import Outcome
from authz_server.testing.sources import sources_of
from authz_server.testing.why import outcomes_of

MAX_EXPLAINED = 20
"""Failures that are explained; more of them seldom have another cause."""

Following = Callable[[Sequence[Mutant]], Iterable[Mutant]]
"""Goes through a list, and may show how far it has come."""


class Session:
    """The tests of good policies, in steps that a caller goes through in order."""

    def __init__(
        self,
        plan: Plan,
        files: Sequence[ParsedFile],
        settings: IdentitySettings,
        max_body: int,
        now: float,
        wanted: Callable[[BoundCase], bool] = lambda _case: True,
    ) -> None:
        """`files` are the documents of the plan; `now` is the time of cases that state none."""
        self.cases = [case for case in cases_of(files, now) if wanted(case)]
        self._files = files
        self._engine = Engine(plan, settings, max_body, self.cases)
        self._services = {service.name: service for service in plan.services}
        self._locations = {rule.id: rule.location for service in plan.services for rule in service.rules}

    def run(self, case: BoundCase) -> Outcome:
        """Decide one case."""
        return Outcome(case, self._engine.decide(case))

    def failures(self, outcomes: Iterable[Outcome]) -> list[Failure]:
        """Those that are not as expected, the first of them explained."""
        failed = [outcome for outcome in outcomes if not outcome.passed]
        return [self._failure(outcome, explain=number < MAX_EXPLAINED) for number, outcome in enumerate(failed)]

    def coverage(self, outcomes: Iterable[Outcome]) -> Coverage:
        """What the cases decide by."""
        return coverage_of(self._facts(outcomes), self._engine, sources_of(self._files))

    def survivors(self, outcomes: Iterable[Outcome], following: Following) -> Survivors:
        """The wrong rules that no case notices; all cases have to pass."""
        mutation = Mutation(self._facts(outcomes), self._engine, sources_of(self._files))
        mutants = mutation.mutants()
        unnoticed = [mutant for mutant in following(mutants) if not mutation.is_noticed(mutant)]
        return Survivors(len(mutants), tuple(unnoticed))

    def _facts(self, outcomes: Iterable[Outcome]) -> list[Facts]:
        found = [facts_of(outcome, self._engine, self._services) for outcome in outcomes]
        return [facts for facts in found if facts is not None]

    def _failure(self, outcome: Outcome, *, explain: bool) -> Failure:
        facts = facts_of(outcome, self._engine, self._services) if explain else None
        location = self._locations.get(outcome.decision.rule or "")
        return Failure(outcome, location, [] if facts is None else outcomes_of(facts, self._engine))
