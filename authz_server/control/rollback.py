"""Puts a revision that was kept back into the directory of policies."""

import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from authz_server.control.replacement import BARRIER, NotReplaced, Replacement, alone_in, is_at
from authz_server.control.revisions import NoRevision, Revision, Revisions
from authz_server.policy.compiler import KnownNames
from authz_server.policy.files import PolicyFile, read_directory, revision
from authz_server.policy.loader import load_files


class RolledBack(Struct, frozen=True):
    """What was done."""

    revision: str
    before: str | None
    """The revision that the directory had, which is kept; None where there was no policy in it."""
    written: tuple[str, ...]
    removed: tuple[str, ...]
    """Paths below the directory."""
    before_is_good: bool = True
    """Whether `before` could be put back; a rollback refuses policies with errors."""


def roll_back(
    revisions: Revisions,
    directory: Path,
    wanted: Revision,
    known: KnownNames | None,
    *,
    force: bool,
    expected: str | None = None,
) -> RolledBack:
    """Make the directory hold this revision, and keep what it has as one first.

    Without `force`, what it holds must be kept already; where `expected` is given it must be that revision. Raises
    NotReplaced, after which nothing has changed, and Unfinished.
    """
    with alone_in(directory) as root:
        found, problems = read_directory(directory)
        if problems:
            raise NotReplaced("what the directory holds cannot be kept, because it cannot be read", problems)
        if not is_at(root, directory):
            raise NotReplaced("the directory was replaced just now")
        loaded = load_files(directory, wanted.files, (), known)
        if loaded.problems:
            message = f"the revision {wanted.revision} does not fit this configuration or version any more"
            raise NotReplaced(message, loaded.problems)
        present = [file for file in found if file.path != BARRIER]
        before = revision(present) if present else None
        if expected is not None and before != expected:
            raise NotReplaced(f"the directory was changed just now: it holds {before or 'no policies'}")
        if before is not None:
            _keep(revisions, present, before, force=force)
        steps = Replacement(root, directory, present, wanted.files)
        if steps.written or steps.removed or len(found) > len(present):
            steps.run(wanted.revision)
        is_good = before is None or not load_files(directory, present, (), known).problems
        return RolledBack(wanted.revision, before, steps.written, steps.removed, is_good)


def _keep(revisions: Revisions, files: Sequence[PolicyFile], name: str, *, force: bool) -> None:
    try:
        revisions.read(name)
    except NoRevision:
        if not force:
            message = f"the directory has changes that no server has activated (revision {name}, which is not kept)"
            raise NotReplaced(message) from None
        try:
            revisions.write(files, time.time())
            revisions.read(name)
        except (OSError, NoRevision) as error:
            raise NotReplaced(f"what the directory holds cannot be kept: {error}") from None
