"""Puts the candidate in the place of the policies in force, if nothing speaks against it."""

import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from authz_server.control.fall_back import FallenBack
from authz_server.control.findings import Findings, Flip
from authz_server.control.replacement import NotReplaced
from authz_server.control.revisions import NoRevision, Revision, Revisions
from authz_server.control.rollback import RolledBack, roll_back
from authz_server.documents.problem import Problem
from authz_server.policy.compiler import KnownNames
from authz_server.policy.files import are_none, read_directory, revision
from authz_server.policy.loader import Judge, load_files
from authz_server.replay.flips import CHANGES

TOLD = 10
"""So many flips are named where they keep a candidate out."""


class Objection(Struct, frozen=True):
    """Something that keeps a candidate out."""

    code: str
    message: str
    to_do: str
    problems: tuple[Problem, ...] = ()


class Accepted(Struct, frozen=True):
    """What somebody means to happen."""

    names: frozenset[str] = frozenset()
    """Ids of flips, or rules all flips of which are meant."""
    all: bool = False
    unjudged: bool = False
    """Also what no traffic has been compared on."""

    def has(self, flip: Flip) -> bool:
        """Whether this flip is meant."""
        return self.all or flip.id in self.names or not self.names.isdisjoint(flip.rules)


class Promotion:
    """One candidate, as its directory holds it now, and where it is to go. The methods block."""

    def __init__(
        self,
        candidate: Path,
        directory: Path,
        revisions: Revisions,
        findings: Findings | None,
        fallen: FallenBack | None = None,
    ) -> None:
        """`fallen` is a roll-out that fell back, of whichever candidate."""
        self._candidate = candidate
        self._directory = directory
        self._revisions = revisions
        self._findings = findings
        self._fallen = fallen
        self._files, self._problems = read_directory(candidate)
        self.revision = revision(self._files)
        """Of the candidate."""
        self._in_force = revision(read_directory(directory)[0])

    def objections(self, accepted: Accepted, known: KnownNames | None, judge: Judge | None) -> list[Objection]:
        """Everything that keeps the candidate out; `judge` is what policies have to pass beside having no error."""
        if are_none(self._files, self._problems):
            message = f"there is no candidate: {self._candidate} has no policies"
            return [Objection("no_candidate", message, "put the policies there that are to be judged")]
        loaded = load_files(self._candidate, self._files, self._problems, known, judge)
        found: list[Objection] = []
        if loaded.problems:
            message = f"the candidate in {self._candidate} has problems"
            found.append(Objection("candidate_problems", message, "mend them", loaded.problems))
        if self.revision == self._in_force:
            return found
        unjudged = None if accepted.unjudged else self._unjudged()
        if unjudged is not None:
            found.append(unjudged)
        elif self._findings is not None and self._is_about(self._findings):
            found += _unaccepted(self._findings, accepted)
        if self._fallen is not None and self._fallen.revision == self.revision:
            message = f"its roll-out fell back: {self._fallen.why}"
            found.append(Objection("rollout_fell_back", message, self._fallen.to_do))
        return found

    def carry_out(self, known: KnownNames | None) -> RolledBack:
        """Do it; what was in force is kept, and so is the candidate. Raises NotReplaced, Unfinished."""
        files = tuple(self._files)
        wanted = Revision(self.revision, time.time(), None, files)
        if self.revision != self._in_force:
            self._keep()
        return roll_back(self._revisions, self._directory, wanted, known, force=False, expected=self._in_force)

    def _keep(self) -> None:
        """Keep both, the candidate so that what is interrupted can be finished."""
        try:
            in_force = self._revisions.read(self._in_force)
        except NoRevision as error:
            raise NotReplaced(f"what is in force could not be put back: {error}") from None
        try:
            self._revisions.write(self._files, time.time())
            self._revisions.write(in_force.files, in_force.activated, in_force.size)
            self._revisions.read(self.revision)
        except (OSError, NoRevision) as error:
            raise NotReplaced(f"both revisions cannot be kept (`policies.revisions`): {error}") from None

    def _is_about(self, findings: Findings) -> bool:
        return (findings.revision, findings.candidate) == (self._in_force, self.revision)

    def _unjudged(self) -> Objection | None:
        """Why what is known says nothing about this candidate."""
        findings = self._findings
        wait = "have a server judge it, or say --unjudged"
        if findings is None:
            return Objection("not_judged", "no server has judged a candidate here", wait)
        if findings.candidate != self.revision:
            message = f"the candidate in {self._candidate} is {self.revision}, and {findings.candidate} was judged"
            return Objection("not_judged", message, wait)
        if findings.revision != self._in_force:
            message = f"it was compared with {findings.revision}, and {self._directory} holds {self._in_force}"
            return Objection("not_judged", message, wait)
        if not findings.compared:
            return Objection("not_judged", "no check has been compared yet", f"wait for traffic, or {wait}")
        return None


def acceptable(findings: Findings | None) -> frozenset[str]:
    """What can be named where flips are accepted: ids, and the rules that decide."""
    flips = () if findings is None else findings.flips
    return frozenset(flip.id for flip in flips).union(*(flip.rules for flip in flips))


def _unaccepted(findings: Findings, accepted: Accepted) -> Iterator[Objection]:
    left = [flip for flip in findings.flips if flip.kind.change != "other" and not accepted.has(flip)]
    left.sort(key=lambda flip: (CHANGES.index(flip.kind.change), -flip.records, flip.id))
    for flip in left[:TOLD]:
        words = "would be denied" if flip.kind.change == "closed" else "would be allowed"
        noun = "record" if flip.records == 1 else "records"
        message = f"{flip.kind.route} by {flip.kind.caller} {words} ({flip.records:,} {noun})"
        yield Objection("flip_not_accepted", message, f"`authz candidate report {flip.id}`, then --accept {flip.id}")
    if len(left) > TOLD:
        message = f"{len(left) - TOLD:,} more flips are not accepted"
        yield Objection("flip_not_accepted", message, "`authz candidate report` lists them")
    more = sum(count for change, count in findings.more.items() if change != "other")
    if more and not accepted.all:
        message = f"{more:,} records flip whose kinds found no room in the report"
        yield Objection("flip_not_accepted", message, "mend the candidate, or say --accept-all")
    untold = sum(count for change, count in findings.untold.items() if change != "other")
    if untold and not accepted.all:
        noun = "check" if untold == 1 else "checks"
        message = f"{untold:,} {noun} flipped, and no record tells of them"
        to_do = "look again in a second; where the audit has lost records, say --accept-all"
        yield Objection("flip_not_accepted", message, to_do)
