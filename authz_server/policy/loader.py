"""From a directory to a plan, or to everything that is wrong with it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from authz_server.documents.problem import Position, Problem, told_once
from authz_server.policy.collection import without_collection
from authz_server.policy.compiler import KnownNames, compile_policies
from authz_server.policy.files import PolicyFile, read_directory, revision
from authz_server.policy.parsing import ParsedFile, parse_policy
from authz_server.policy.plan import Plan

Judge = Callable[[Plan, Sequence[ParsedFile]], Iterable[Problem]]
"""What else is wrong with policies that have no error; the documents are there for it, and are dropped afterwards."""


class Loaded(Struct, frozen=True):
    """What came of a directory."""

    plan: Plan | None
    """None where there are problems."""
    problems: tuple[Problem, ...]
    """All of them, by file, line and column."""
    files: Mapping[str, str]
    """Path below the directory -> SHA-256 of its content, hexadecimal; all that were read, good or not."""
    revision: str
    """Content hash of the files: the same names and contents give the same, whatever their order."""


def load_policies(directory: Path, known: KnownNames | None = None, judge: Judge | None = None) -> Loaded:
    """Read, check and compile all policies below a directory.

    With `known`, issuers and trust domains that it does not have are problems, and with `judge` what it says. Raises
    nothing for what is wrong with files or directory.
    """
    files, problems = read_directory(directory)
    return load_files(directory, files, problems, known, judge)


def load_files(
    directory: Path,
    files: Sequence[PolicyFile],
    problems: Sequence[Problem],
    known: KnownNames | None = None,
    judge: Judge | None = None,
) -> Loaded:
    """Check and compile the files of a directory, which had these problems when it was read."""
    # What only reading needs is gone when the collector runs again.
    with without_collection():
        return _load(directory, files, list(problems), known, judge)


def _load(
    directory: Path,
    files: Sequence[PolicyFile],
    problems: list[Problem],
    known: KnownNames | None,
    judge: Judge | None,
) -> Loaded:
    documents: list[ParsedFile] = []
    complete = not problems
    for file in files:
        parsed, complaints = parse_policy(file)
        problems += complaints
        complete = complete and parsed is not None
        if parsed is not None:
            documents.append(parsed)
    name = revision(files)
    plan, complaints = compile_policies(documents, name, known, complete=complete)
    problems += complaints
    if not problems and not plan.services:
        problems.append(_nothing(directory))
    if judge is not None and not problems:
        problems += judge(plan, documents)
    found = tuple(sorted(told_once(problems), key=lambda problem: (problem.position, problem.message)))
    return Loaded(None if found else plan, found, {file.path: file.digest for file in files}, name)


def _nothing(directory: Path) -> Problem:
    message = f"no service is defined below `{directory}`, so every request would be denied"
    hint = "write a file such as `orders.yaml` that begins with `kind: service`"
    return Problem(Position(str(directory), 1, 1), "no_policies", message, hint)
