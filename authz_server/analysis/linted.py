"""A directory of policies, and what is found in it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from authz_server.analysis.lint import Lint, lint
from authz_server.documents.problem import Problem
from authz_server.policy.compiler import KnownNames
from authz_server.policy.loader import Loaded, load_policies
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import Plan


def load_and_lint(directory: Path, known: KnownNames | None, now: float) -> tuple[Loaded, list[Lint]]:
    """Load policies, and look at those that have no errors; `now` is in seconds since the epoch."""
    found: list[Lint] = []

    def look(plan: Plan, files: Sequence[ParsedFile]) -> Iterable[Problem]:
        found.extend(lint(plan, files, now))
        return ()

    return load_policies(directory, known, look), found
