"""One run: traffic, chaos and judgement, until the time is over."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TextIO

from msgspec import Struct

from authz_server.dev.waiting import wait_until
from tests.json_lines import read_json_lines
from tests.soak.chaos import STOP_S, Chaos
from tests.soak.docket import Docket
from tests.soak.judge import Answered, Finding, Judge
from tests.soak.processes import is_worker
from tests.soak.records import AuditReader
from tests.soak.resources import Resources
from tests.soak.site import Choice, Site, running_site
from tests.soak.timeline import Timeline
from tests.soak.traffic import traffic
from tests.soak.watcher import Watcher, watching

LOOK_S = 0.2
PROGRESS_S = 30.0
QUIET_EVERY_S = 30.0
QUIET_S = 1.0
LONGEST_QUIET_S = 90.0
SETTLED_S = 12.0
SHOWN_FINDINGS, SHOWN = 20, 600
"""Findings that are shown, and characters of each; the file has all."""
GENTLE_PERIODS = 2
"""Without the end of a process, after each one with it."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a run does."""

    seconds: float
    seed: int
    transport: str
    rate: float
    kinds: Sequence[str]
    fault: str | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of it."""

    docket: Docket
    timeline: Timeline
    resources: Resources
    revisions: int
    begun: float

    def lines(self) -> Iterator[str]:
        """The summary."""
        docket = self.docket
        yield f"requests   {docket.requests:,}, revisions {self.revisions}"
        yield f"events     {_counted(self.timeline.begun)}"
        yield f"answers    {_counted(docket.reasons)}"
        failed = {kinds or "unexplained": count for kinds, count in docket.failed.items()}
        yield f"failed     {_counted(failed)}"
        yield f"audit      {docket.records.gaps} gaps, {docket.records.dropped} records lost"
        for line in self.resources.summary():
            yield f"resources  {line}"
        yield f"findings   {len(docket.findings)}"

    def findings(self) -> Iterator[str]:
        """Each finding in one line."""
        for finding in self.docket.findings:
            yield in_words(finding, self.timeline, self.begun)


class Run:
    """A run under way."""

    def __init__(self, plan: Plan, site: Site, answers: "SimpleQueue[Answered]", out: TextIO) -> None:
        self._plan, self._site, self._answers, self._out = plan, site, answers, out
        self._audit = AuditReader(site.directory / "decisions.jsonl")
        self.timeline = Timeline()
        self.docket = Docket(Judge(site.revisions.good, self.timeline, site.issuers))
        self.resources = Resources(site, min(SETTLED_S, plan.seconds / 4))
        self.begun = time.monotonic()
        self._told = self.begun
        self._told_of = 0

    def go(self) -> None:
        """Until the time is over, and everything has settled."""
        with watching(self._site, self.timeline, self.docket.report) as watcher:
            chaos = Chaos(self._site, self.timeline, watcher, self._plan.seed, self._plan.kinds)
            end = self.begun + self._plan.seconds
            period = 0
            every = min(QUIET_EVERY_S, self._plan.seconds / 2)
            while time.monotonic() < end:
                self._disturb(chaos, min(end, time.monotonic() + every), lethal=period % (1 + GENTLE_PERIODS) == 0)
                self._be_quiet(chaos, watcher)
                period += 1
            for problem in chaos.problems:
                self.docket.report(problem)

    def finish(self) -> None:
        """No more requests come: end the server, and read the whole audit."""
        self._work()
        self._site.server.terminate()
        begun = time.monotonic()
        code = self._site.server.wait()
        if code != 0 or time.monotonic() - begun > STOP_S:
            self.docket.report(f"SIGTERM at the end: exit code {code} after {time.monotonic() - begun:.1f} s")
        workers = self._site.seen_workers
        try:
            wait_until(lambda: not any(map(is_worker, workers)), STOP_S, "the workers to end")
        except TimeoutError:
            self.docket.report(f"workers are left: {[worker for worker in workers if is_worker(worker)]}")
        paths = sorted(self._site.directory.glob("decisions*.jsonl"))
        self.docket.finish(record for path in paths for record in read_json_lines(path))

    def _disturb(self, chaos: Chaos, end: float, *, lethal: bool) -> None:
        due = time.monotonic() + chaos.pause()
        while (now := time.monotonic()) < end:
            if now >= due:
                chaos.step(lethal=lethal)
                due = time.monotonic() + chaos.pause()
            chaos.revive()
            chaos.end_due()
            self._work()
            time.sleep(LOOK_S)

    def _be_quiet(self, chaos: Chaos, watcher: Watcher) -> None:
        """Let everything settle, and look at what the server holds."""
        chaos.end_due(everything=True)
        begun = time.monotonic()
        while time.monotonic() < begun + LONGEST_QUIET_S:
            chaos.revive()
            self._work()
            well = watcher.well_since
            if well is not None and time.monotonic() > max(well, begun) + QUIET_S and not self.timeline.open():
                for problem in self.resources.look():
                    self.docket.report(problem)
                return
            time.sleep(LOOK_S)
        self.docket.report(f"not settled after {LONGEST_QUIET_S:g} s")

    def _work(self) -> None:
        self.docket.take(_drained(self._answers))
        self.docket.judge(self._audit.read())
        self._site.stack.http.forget()
        self._tell_findings()
        if time.monotonic() - self._told >= PROGRESS_S:
            self._told = time.monotonic()
            left = max(0.0, self.begun + self._plan.seconds - self._told)
            print(
                f"{self.docket.requests:,} requests, {self.timeline.begun.total()} events, "
                f"{len(self.docket.findings)} findings, {left:.0f} s left",
                file=self._out,
                flush=True,
            )

    def _tell_findings(self) -> None:
        """The first ones at once: what caused them can be looked at."""
        findings = self.docket.findings
        for finding in findings[self._told_of : SHOWN_FINDINGS]:
            print(in_words(finding, self.timeline, self.begun)[:SHOWN], file=self._out, flush=True)
        self._told_of = len(findings)


def run(plan: Plan, directory: Path, out: TextIO = sys.stdout) -> Outcome:
    """Start everything in that directory, do what the plan says, and end it."""
    with running_site(directory, Choice(plan.seed, plan.transport, plan.fault)) as site:
        with _running(plan, site, out) as under_way:
            under_way.go()
        under_way.finish()
        return Outcome(
            docket=under_way.docket,
            timeline=under_way.timeline,
            resources=under_way.resources,
            revisions=len(site.revisions.good),
            begun=under_way.begun,
        )


@contextmanager
def _running(plan: Plan, site: Site, out: TextIO) -> Iterator[Run]:
    with traffic(site.stack.port, site.caller, site.issuers, seed=plan.seed, rate=plan.rate) as answers:
        yield Run(plan, site, answers, out)


def _drained(answers: "SimpleQueue[Answered]") -> Iterator[Answered]:
    while True:
        try:
            yield answers.get_nowait()
        except Empty:
            return


def _counted(counts: "dict[str, int]") -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def in_words(finding: Finding, timeline: Timeline, begun: float) -> str:
    """A finding in one line: when, what, what was going on, and everything that is known of the request."""
    words = [f"{finding.at - begun:8.2f} s  {' '.join(finding.what.split())}"]
    answered = finding.answered
    if answered is not None:
        ago = time.monotonic() - answered.sent
        moment = datetime.fromtimestamp(time.time() - ago, UTC)
        words.append(f"sent at {moment:%H:%M:%S.%f}, {answered.done - answered.sent:.3f} s")
        words.append(f"while {', '.join(sorted(timeline.during(answered.sent, answered.done))) or 'nothing happened'}")
        words.append(repr(answered))
    if finding.expected is not None:
        words.append(f"expected {finding.expected.reason} {finding.expected.rule}")
    if finding.record is not None:
        words.append(f"record {dict(finding.record)}")
    return "; ".join(words)
