"""The number of the policies, which gives revisions an order that their hashes do not have."""

from collections.abc import Iterable

from authz_server.documents.problem import Problem
from authz_server.policy.parsing import ParsedFile
from authz_server.policy.schema import Revision


def revision_number(files: Iterable[ParsedFile]) -> tuple[int | None, list[Problem]]:
    """The one number, None where there is none, and what is wrong with documents that give it."""
    first: ParsedFile | None = None
    number: int | None = None
    problems: list[Problem] = []
    for parsed in files:
        if not isinstance(parsed.model, Revision):
            continue
        if parsed.file.folders:
            message, hint = "a folder has no number of its own", "move the file to the top folder"
            problems.append(parsed.document.problem(("kind",), "misplaced_revision", message, hint))
        elif first is not None:
            message, hint = "the policies have a number already", f"at {first.file.shown}:1"
            problems.append(parsed.document.problem(("kind",), "duplicate_revision", message, hint))
        else:
            first, number = parsed, parsed.model.number
    return number, problems
