"""Follows what the candidate decides differently, as long as the server runs, and keeps it on disk."""

import asyncio
import time
from collections.abc import Callable, Sequence
from threading import Lock

import structlog
from msgspec.structs import replace

from authz_server.control.checked_file import NothingKept
from authz_server.control.findings import Counted, Findings, FindingsFile
from authz_server.control.flip_tally import FlipTally
from authz_server.control.publisher import Content
from authz_server.policy.plan import Plan
from authz_server.replay.recorded import Undecidable, read_record

_COMPARED = b'"compared":{'
"""In lines of the audit, which have no spaces: texts of clients cannot hold it, their quotes are escaped."""
_GAP = b'"type":"gap"'
"""As above."""
_PAUSE_S = 1.0
"""Between two looks at what has changed."""
_SHARE = 20
"""What takes long, because of a slow disk or many series, is left alone for so many times as long."""


class CandidateFlips:
    """Takes records in one thread, and writes in another. The methods block, but for `run`."""

    def __init__(
        self, file: FindingsFile, counted: Callable[[], Counted], clock: Callable[[], float] = time.time
    ) -> None:
        """`counted` says what workers have counted since this server started; it may block."""
        self._file = file
        self._counted = counted
        self._clock = clock
        self._lock = Lock()
        self._seen = Counted({}, 0.0)
        self._findings = self._known()
        self._tally: FlipTally | None = None
        self._changed = False
        self.problem: str | None = None
        """Why what is known is not on disk."""

    def judge(self, plan: Plan, candidate: Plan | None) -> None:
        """From here on this candidate is compared with these policies; what is known of others is forgotten."""
        with self._lock:
            self._take_counted()
            known = self._findings
            if candidate is None:
                self._changed = self._changed or known is not None
                self._findings = self._tally = None
                return
            if known is None or (known.revision, known.candidate) != (plan.revision, candidate.revision):
                known = self._findings = Findings(plan.revision, candidate.revision, self._clock())
                self._changed = True
                self._tally = None
            if self._tally is None:
                self._tally = FlipTally(plan, candidate, known)

    def follow(self, content: Content) -> None:
        """The workers are about to switch to this; it never raises."""
        candidate = None if content.candidate is None else content.candidate.plan
        self._guarded(lambda: self.judge(content.plan, candidate))

    def observe(self, lines: Sequence[bytes]) -> None:
        """Count those in which the policies that did not decide say something else, and what was lost."""
        telling = [line for line in lines if _COMPARED in line or _GAP in line]
        if not telling:
            return
        with self._lock:
            for line in telling:
                self._observe(line)

    async def run(self) -> None:
        """Bring to disk what has changed, again and again, until cancelled."""
        while True:
            begun = time.monotonic()
            await asyncio.to_thread(self._guarded, self.save)
            await asyncio.sleep(max(_PAUSE_S, _SHARE * (time.monotonic() - begun)))

    def save(self) -> None:
        """Bring to disk what has changed; what keeps it from that is logged, and told by `problem`."""
        with self._lock:
            self._take_counted()
            if not self._changed:
                return
            if self._tally is not None and self._findings is not None:
                self._findings = replace(self._findings, flips=self._tally.flips, more=dict(self._tally.more))
            findings, self._changed = self._findings, False
        try:
            if findings is None:
                self._file.remove()
            else:
                self._file.write(findings)
        except OSError as error:
            self._changed = True
            self._tell(error.strerror or str(error))
        else:
            self.problem = None

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # the border: policies and server go on, whatever is wrong with what is counted
            self._tell(f"a failure inside ({type(error).__name__})", exc_info=True)

    def _tell(self, problem: str, *, exc_info: bool = False) -> None:
        if self.problem is None:
            file = str(self._file.path)
            structlog.get_logger().error("candidate_findings_not_kept", file=file, problem=problem, exc_info=exc_info)
        self.problem = problem

    def _known(self) -> Findings | None:
        try:
            return self._file.read()
        except NothingKept as error:
            if self._file.path.exists():
                structlog.get_logger().error(
                    "candidate_findings_refused", file=str(self._file.path), problem=str(error)
                )
            return None

    def _observe(self, line: bytes) -> None:
        try:
            record = read_record(line)
        except Undecidable:
            return
        if record.type == "gap" and self._findings is not None:
            self._findings = replace(self._findings, lost=self._findings.lost + (record.dropped or 1))
            self._changed = True
        # Late records may be of policies that decide no more.
        if self._tally is not None and self._tally.add(record, line):
            self._changed = True

    def _take_counted(self) -> None:
        """Add what workers have counted since the last time to what is known."""
        now, before = self._counted(), self._seen
        self._seen = now
        if self._findings is None:
            return
        new = {name: count - before.checks.get(name, 0) for name, count in now.checks.items()}
        if any(new.values()):
            known = self._findings.counted
            checks = {name: known.checks.get(name, 0) + count for name, count in new.items()}
            rolled_out = known.rolled_out + now.rolled_out - before.rolled_out
            counted = Counted(checks, known.seconds + now.seconds - before.seconds, rolled_out)
            self._findings = replace(self._findings, counted=counted)
            self._changed = True
