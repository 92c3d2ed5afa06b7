"""The files of what was learned, formatted, checked by replaying what they were learned from."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from authz_server.documents.problem import Problem
from authz_server.identity.settings import IdentitySettings
from authz_server.learning.observations import Left, Seen
from authz_server.learning.service import Fields, LearnedService
from authz_server.policy.compiler import KnownNames
from authz_server.policy.files import PolicyFile, policy_file
from authz_server.policy.formatting import format_policy
from authz_server.policy.loader import load_files
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.plan import Plan
from authz_server.policy.starters import schema_beside
from authz_server.replay.judge import Judge
from authz_server.replay.recorded import Undecidable
from authz_server.testing.session import Session

Following = Callable[[Sequence[Seen]], Iterable[Seen]]


class Checked(Struct, frozen=True):
    """What came of trying the files."""

    problems: tuple[Problem, ...] = ()
    """What is wrong with them; then nothing was tried."""
    tests: int = 0
    failed: tuple[str, ...] = ()
    """Tests that do not pass."""
    denied: int = 0
    """Learned records that they would not allow."""
    allowed: Mapping[str, Seen] = {}
    """Why records were left out -> those that they would allow all the same, the first as the example."""

    @property
    def good(self) -> bool:
        """Whether they do what they were learned for."""
        return not self.problems and not self.failed and not self.denied


def files_of(services: Sequence[LearnedService], directory: Path) -> dict[str, bytes]:
    """The files by their paths below the directory. Raises Unformattable."""
    found: dict[str, bytes] = {}
    for service in services:
        for name, document, comment in (
            (service.file, service.policy(), _provenance(service)),
            (service.tests_file, service.tests(), "What was seen may go on, and what differs in one thing may not."),
        ):
            found[name] = _text(document, directory, name, comment)
    return found


def check(
    files: Mapping[str, bytes],
    directory: Path,
    services: Sequence[LearnedService],
    left_out: Mapping[str, Left],
    known: KnownNames | None,
    settings: IdentitySettings,
    now: float,
    following: Following = iter,
) -> Checked:
    """Load the files as the server does, replay on them what was learned and what was not, and run their tests.

    `following` goes through what is replayed, and may show how far it has come.
    """
    documents: list[ParsedFile] = []

    def keep(_plan: Plan, parsed: Sequence[ParsedFile]) -> tuple[()]:
        documents.extend(parsed)
        return ()

    read: list[PolicyFile] = [policy_file(directory, name, content) for name, content in files.items()]
    loaded = load_files(directory, read, (), known, keep)
    if loaded.plan is None:
        return Checked(loaded.problems)
    judge = Judge(loaded.plan)
    learned = [seen for service in services for seen in service.requests.values()]
    denied = sum(seen.count for seen in following(learned) if not _allows(judge, seen))
    allowed = {why: _allowed(judge, left) for why, left in left_out.items()}
    session = Session(loaded.plan, documents, settings, 0, now)
    outcomes = [session.run(case) for case in session.cases]
    failed = tuple(each.case.full_name for each in outcomes if not each.passed)
    return Checked((), len(outcomes), failed, denied, {why: seen for why, seen in allowed.items() if seen is not None})


def _allows(judge: Judge, seen: Seen) -> bool:
    outcome = judge.outcome(seen.example)
    return not isinstance(outcome, Undecidable) and outcome.allowed


def _allowed(judge: Judge, left: Left) -> Seen | None:
    """All that is allowed of what was left out, as one; None where nothing is."""
    allowed = [seen for seen in left.requests.values() if _allows(judge, seen)]
    if not allowed:
        return None
    found = Seen(allowed[0].example)
    for seen in allowed:
        found.add(seen.count, seen.first, seen.last)
    return found


def _provenance(service: LearnedService) -> str:
    times = [(rule.first, rule.last) for rule in service.rules]
    first, last = min(each for each, _ in times), max(each for _, each in times)
    return f"Learned from {service.records:,} records between {first} and {last}: read it before it decides."


def _text(document: Fields, directory: Path, name: str, comment: str) -> bytes:
    schema = schema_beside((directory / name).parent)
    heading = f"# yaml-language-server: $schema={schema}\n" if schema else ""
    content = f"{heading}# {comment}\n{json.dumps(document, ensure_ascii=False, indent=1)}"
    return format_policy(policy_file(directory, name, content.encode()))
