"""The policies of a revision, wherever they still are."""

from collections.abc import Iterable
from contextlib import suppress

from authz_server.cli.configuration import from_here
from authz_server.control.revisions import NoRevision, candidate_revisions_of, revisions_of
from authz_server.control.settings import Settings
from authz_server.policy.files import PolicyFile, read_directory, revision
from authz_server.policy.loader import load_files
from authz_server.policy.plan import Plan


def policies_of(wanted: str, settings: Settings) -> tuple[Plan | None, str]:
    """The policies of a revision, and where they were found, or why they were not."""
    try:
        files, where = _kept(wanted, settings), "kept"
    except NoRevision as error:
        candidate = settings.candidate
        for directory in (settings.policy_directory, *([] if candidate is None else [candidate.directory])):
            files, where = read_directory(from_here(directory))[0], str(from_here(directory))
            if revision(files) == wanted:
                break
        else:
            return None, f"{error}: what the rules said cannot be told"
    loaded = load_files(settings.policy_directory, files, ())
    if loaded.plan is None:
        return None, f"this version does not take the policies of that time: {first_of(loaded.problems)}"
    return loaded.plan, where


def _kept(wanted: str, settings: Settings) -> list[PolicyFile]:
    """The files of policies that decided, or of a candidate that was asked. Raises NoRevision."""
    try:
        return list(revisions_of(settings).read(wanted).files)
    except NoRevision:
        with suppress(NoRevision):
            return list(candidate_revisions_of(settings).read(wanted).files)
        raise


def first_of(problems: Iterable[object]) -> str:
    """The first problem in a line."""
    return next((str(problem).partition("\n")[0] for problem in problems), "no policies")
