"""The policies of a revision, wherever they still are."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from authz_server.cli.configuration import from_here
from authz_server.control.revisions import NoRevision, Revisions, candidate_revisions_of, revisions_of
from authz_server.control.settings import Settings
from authz_server.policy.files import PolicyFile, read_directory, revision
from authz_server.policy.loader import load_files
from authz_server.policy.plan import Plan


def policies_of(wanted: str, settings: Settings) -> tuple[Plan | None, str]:
    """The policies of a revision, and where they were found, or why they were not."""
    why = NoRevision("")
    for place in _places(settings):
        try:
            files = _files(wanted, place)
        except NoRevision as error:
            # What the first place says: there all that have decided are.
            why = why if str(why) else error
            continue
        loaded = load_files(settings.policy_directory, files, ())
        if loaded.plan is None:
            return None, f"this version does not take the policies of that time: {first_of(loaded.problems)}"
        return loaded.plan, "kept" if isinstance(place, Revisions) else str(place)
    return None, f"{why}: what the rules said cannot be told"


def first_of(problems: Iterable[object]) -> str:
    """The first problem in a line."""
    return next((str(problem).partition("\n")[0] for problem in problems), "no policies")


def _places(settings: Settings) -> Iterator[Revisions | Path]:
    yield revisions_of(settings)
    if settings.candidate is not None:
        # Before what is kept of candidates: problems have their places there.
        yield from_here(settings.candidate.directory)
    yield candidate_revisions_of(settings)
    yield from_here(settings.policy_directory)


def _files(wanted: str, place: Revisions | Path) -> list[PolicyFile]:
    """The files of the revision there. Raises NoRevision."""
    if isinstance(place, Revisions):
        return list(place.read(wanted).files)
    files, _ = read_directory(place)
    if revision(files) != wanted:
        raise NoRevision(f"{place} holds another revision")
    return files
