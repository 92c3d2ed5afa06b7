"""From a directory to a plan, or to everything that is wrong with it."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from authz_server.documents.problem import Position, Problem
from authz_server.policy.compiler import KnownNames, compile_policies
from authz_server.policy.files import read_directory, revision
from authz_server.policy.parsing import parse_policy
from authz_server.policy.plan import Plan


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


def load_policies(directory: Path, known: KnownNames | None = None) -> Loaded:
    """Read, check and compile all policies below a directory.

    With `known`, issuers and trust domains that it does not have are problems. Raises nothing for what is wrong with
    files or directory.
    """
    with _without_collection():
        files, problems = read_directory(directory)
        documents = []
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
        found = tuple(sorted(problems, key=lambda problem: (problem.position, problem.message)))
        return Loaded(None if found else plan, found, {file.path: file.digest for file in files}, name)


def _nothing(directory: Path) -> Problem:
    message = f"no service is defined below `{directory}`, so every request would be denied"
    hint = "write a file such as `orders.yaml` that begins with `kind: service`"
    return Problem(Position(str(directory), 1, 1), "no_policies", message, hint)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Without the collector of cyclic garbage, which would look at every new node over and over and find none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
