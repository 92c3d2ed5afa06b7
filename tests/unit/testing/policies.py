"""Sessions of tests, from the texts of policies."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from authz_server.identity.settings import IdentitySettings
from authz_server.policy.loader import load_policies
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import Plan
from authz_server.testing.cases import BoundCase, cases_of
from authz_server.testing.gate import Gate
from authz_server.testing.runner import Outcome
from authz_server.testing.session import Session
from tests.builders import write_policies

NOW = 1772442000.0
"""2026-03-02T09:00:00Z, of cases that state no time."""
MAX_BODY = 1024


class Policies(Struct, frozen=True):
    """Policies that have been loaded with their tests."""

    plan: Plan
    files: list[ParsedFile]

    def session(self) -> Session:
        """Their tests, not run yet."""
        return Session(self.plan, self.files, IdentitySettings(), MAX_BODY, NOW)

    def outcomes(self) -> dict[str, Outcome]:
        """What comes of each test, by name."""
        session = self.session()
        return {case.name: session.run(case) for case in session.cases}

    def uncovered(self) -> list[str]:
        """The rules and parts that no test decides by, each with its line."""
        session = self.session()
        coverage = session.coverage([session.run(case) for case in session.cases])
        return [f"{each.position.line}: {each.rule}: {each.missing}" for each in coverage.uncovered]

    def survivors(self) -> list[str]:
        """The changes that no test notices, each with its line; all tests have to pass."""
        session = self.session()
        outcomes = [session.run(case) for case in session.cases]
        assert [outcome for outcome in outcomes if not outcome.passed] == []
        survivors = session.survivors(outcomes, lambda mutants: mutants)
        return [f"{each.position.line}: {each.change}" for each in survivors.mutants]

    def problems(self, gate: Gate) -> list[str]:
        """What a gate says, each with its place and code."""
        found = gate(self.plan, self.files)
        return [f"{each.position.line}:{each.position.column} {each.code} {each.message}" for each in found]


def cases_of_files(policies: Policies) -> list[BoundCase]:
    """All cases of the policies."""
    return list(cases_of(policies.files, NOW))


def loaded(directory: Path, files: Mapping[str, str]) -> Policies:
    """The policies of these files, which must have no error."""
    kept: list[ParsedFile] = []

    def keep(_plan: Plan, parsed: Sequence[ParsedFile]) -> tuple[()]:
        kept.extend(parsed)
        return ()

    found = load_policies(write_policies(directory, files), judge=keep)
    assert found.plan is not None, "\n".join(map(str, found.problems))
    return Policies(found.plan, kept)
