"""The directory of the candidate as it is now; the last good candidate of this run stays."""

from pathlib import Path
from textwrap import dedent

import structlog

from authz_server.documents.problem import Problem
from authz_server.policy.compiler import KnownNames
from authz_server.policy.files import PolicyFile, are_none, read_directory, revision
from authz_server.policy.loader import Judge, load_files
from authz_server.policy.plan import Plan


class CandidateDirectory:
    """Remembers the last good candidate, until there is none. Its methods block."""

    def __init__(self, directory: Path, known: KnownNames, judge: Judge | None = None) -> None:
        """`judge` may refuse policies that have no error."""
        self.path = directory
        self._known = known
        self._judge = judge
        self._seen: tuple[str, tuple[Problem, ...]] | None = None
        self.plan: Plan | None = None
        """None where there is no candidate, or none has been good yet."""
        self.files: tuple[PolicyFile, ...] = ()
        """What `plan` was made of."""
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the files as they are now. That there are none is no problem."""

    def reread(self, *, tell_again: bool = False) -> None:
        """Look at the contents of all files, and load them if anything has changed.

        With `tell_again` those that are bad are loaded again as well, and their problems told.
        """
        files, problems = read_directory(self.path)
        seen = (revision(files), tuple(problems))
        if seen == self._seen and not (tell_again and self.problems):
            return
        self._seen = seen
        if are_none(files, problems):
            self.plan, self.files, self.problems = None, (), ()
            return
        loaded = load_files(self.path, files, problems, self._known, self._judge)
        was_bad, self.problems = bool(self.problems), loaded.problems
        if loaded.plan is None:
            self._refuse()
        elif self.plan is None or self.plan.revision != loaded.plan.revision:
            self.plan, self.files = loaded.plan, tuple(files)
        elif was_bad:
            structlog.get_logger().info("candidate_mended", revision=self.plan.revision)

    def _refuse(self) -> None:
        log = structlog.get_logger()
        kept = {} if self.plan is None else {"revision_kept": self.plan.revision}
        log.error("candidate_refused", problems=len(self.problems), **kept)
        for problem in self.problems:
            what, _, source = str(problem).partition("\n")
            log.error("candidate_problem", problem=what, source=dedent(source))
