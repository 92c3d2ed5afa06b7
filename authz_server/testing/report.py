"""What a run of tests has found."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from authz_server.policy.explain import RuleOutcome
from authz_server.testing.coverage import Coverage
from authz_server.testing.mutants import Mutant
from authz_server.testing.runner import Outcome


class Failure(Struct, frozen=True):
    """A case that failed, and what came of the rules that should have decided otherwise."""

    outcome: Outcome
    rule_at: str | None
    """`file:line:column` of the rule that decided."""
    rules: Sequence[RuleOutcome] = ()

    def lines(self) -> Iterator[str]:
        """Expected and actual outcome, and the rules, in words."""
        yield f"expected  {self.outcome.expected}"
        yield f"was       {self.outcome.actual}" + (f" ({self.rule_at})" if self.rule_at else "")
        width = max((len(each.rule) for each in self.rules), default=0)
        for each in self.rules:
            yield f"  {each.rule:<{width}}  {each.outcome}"


class Survivors(Struct, frozen=True):
    """The wrong rules that no test noticed, of how many."""

    total: int
    mutants: tuple[Mutant, ...]


class Report(Struct, frozen=True):
    """All of it; None is what was not asked for."""

    outcomes: Sequence[Outcome]
    failures: Sequence[Failure]
    coverage: Coverage | None = None
    survivors: Survivors | None = None
