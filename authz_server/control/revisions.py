"""The texts of the policies that decided before, each revision in a file with its hash as the name.

Decisions of before are explained by them, and they can be put back.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from authz_server.bounds import Bound
from authz_server.control.checked_file import NothingKept
from authz_server.control.kept_policies import KeptPolicies, Size
from authz_server.control.settings import Settings
from authz_server.policy.files import POLICIES, PolicyFile, revision

DIRECTORY = "revisions"
CANDIDATE_DIRECTORY = "candidate-revisions"
"""In the run directory."""
READ = Bound(
    "a revision that is read",
    "server",
    entries=POLICIES.entries,
    bytes=2 * POLICIES.bytes,
    holds="The text of one revision that was kept, in `authz revisions`, `rollback` and `explain`.",
    full="It never is: what is kept is no larger than what is served (`policies.revisions` bounds them on disk).",
)
_REVISION = re.compile("[0-9a-f]{32}")
_PREFIX = re.compile("[0-9a-f]{4,32}")


class Revision(Struct, frozen=True):
    """One that is kept."""

    revision: str
    activated: float
    """When it began to decide the last time, or was kept; in seconds since the epoch."""
    size: Size | None
    """None where nobody has counted: it has never decided."""
    files: tuple[PolicyFile, ...]


class NoRevision(Exception):
    """There is no such revision that may be used; says why, for people."""


class Revisions:
    """The revisions of one directory of policies. The methods block."""

    def __init__(self, directory: Path, policies: Path, keep: int, max_bytes: int) -> None:
        """`directory` holds them: `keep` files at most, of `max_bytes` together. `policies` is where they were read."""
        self.directory = directory
        self._policies = policies
        self._keep = keep
        self._max_bytes = max_bytes

    def write(self, files: Sequence[PolicyFile], activated: float, size: Size | None = None) -> None:
        """Keep these as the latest; the oldest go until the rest fits. Raises OSError."""
        if self._keep:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file(revision(files)).write(files, activated, size)
        self._make_room()

    def names(self) -> list[str]:
        """The hashes of all that are kept, the latest first."""
        return [path.name for path in self._paths()]

    def read(self, name: str) -> Revision:
        """The revision with this hash. Raises NoRevision."""
        if not _REVISION.fullmatch(name):
            raise NoRevision(f"`{name}` is no revision: 32 hexadecimal digits")
        file = self._file(name)
        try:
            kept = file.read()
        except NothingKept as error:
            if not file.path.exists():
                raise NoRevision(f"the revision {name} is not kept (below {self.directory})") from None
            raise NoRevision(f"the revision {name} cannot be used: {file.path}: {error}") from None
        if revision(kept.files) != name:
            raise NoRevision(f"the revision {name} cannot be used: {file.path}: it holds another one")
        return Revision(name, kept.activated, kept.size, tuple(kept.files))

    def full_name(self, beginning: str) -> str:
        """The one that begins like this, with four digits at least. Raises NoRevision."""
        if not _PREFIX.fullmatch(beginning):
            raise NoRevision(f"`{beginning}` is no revision: 4 to 32 hexadecimal digits in lower case")
        found = [name for name in self.names() if name.startswith(beginning)]
        if len(found) > 1:
            raise NoRevision(f"`{beginning}` is the beginning of {len(found)} revisions: {', '.join(sorted(found))}")
        if not found:
            raise NoRevision(f"no revision that begins with {beginning} is kept (below {self.directory})")
        return found[0]

    def _file(self, name: str) -> KeptPolicies:
        return KeptPolicies(self.directory / name, self._policies)

    def _paths(self) -> list[Path]:
        """The files, the latest first: each was written when it was activated."""
        try:
            found = [path for path in self.directory.iterdir() if _REVISION.fullmatch(path.name)]
            return sorted(found, key=lambda path: (path.lstat().st_mtime_ns, path.name), reverse=True)
        except FileNotFoundError:
            return []

    def _make_room(self) -> None:
        room = self._max_bytes
        for number, path in enumerate(self._paths()):
            room -= path.lstat().st_size
            # The latest stays, however large it is.
            if number >= self._keep or (number and room < 0):
                path.unlink(missing_ok=True)


def revisions_of(settings: Settings) -> Revisions:
    """Where a server with these settings keeps them."""
    wanted = settings.policies.revisions
    return Revisions(settings.run_directory / DIRECTORY, settings.policy_directory, wanted.keep, wanted.size)


def candidate_revisions_of(settings: Settings) -> Revisions:
    """Where it keeps those of candidates, apart from what has decided: neither crowds the other out."""
    wanted = settings.policies.revisions
    directory = settings.run_directory / CANDIDATE_DIRECTORY
    # Their texts are explained like those of the policies, whatever became of the candidate's own directory.
    return Revisions(directory, settings.policy_directory, wanted.keep, wanted.size)
