"""Answers that wait for their records, and what was found about those that have them."""

import time
from collections import Counter, deque
from collections.abc import Iterable

from tests.soak.judge import FAILURES, Answered, Finding, Judge
from tests.soak.records import Record, Records

UNEXPLAINED_SHARE = 0.002
"""Of requests that may fail without a reason of ours, on a machine that has other work too."""
UNEXPLAINED_AT_LEAST = 3
KILLED_SHARE = 0.10
"""Of requests that may fail while nothing but workers is killed or stopped: Envoy asks the other one."""
SMALL = 200
"""Requests that are too few for a share."""
FOUND = 200
"""Findings that are kept."""


class Docket:
    """Brings answers and records together, in whatever order they come."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.records = Records()
        self._waiting: deque[Answered] = deque()
        self.findings: list[Finding] = []
        self.requests = 0
        self.reasons: Counter[str] = Counter()
        """Of answers, by what was decided, or what happened instead."""
        self.failed: Counter[str] = Counter()
        """Requests without a decision, by what was going on."""
        self._during: Counter[str] = Counter()
        self._unexplained: list[Finding] = []
        self._decisions: dict[str, Answered] = {}

    def take(self, answers: Iterable[Answered]) -> None:
        """Answers that have come."""
        for answered in answers:
            self.requests += 1
            self._during[_kinds(self._judge.explains(answered))] += 1
            if answered.decided:
                self._waiting.append(answered)
            else:
                self._failed(answered, answered.failure or f"status {answered.status} without a decision", None)

    def judge(self, records: Iterable[Record]) -> None:
        """Records that have come: judge what waited for them."""
        self.records.add(records)
        for _ in range(len(self._waiting)):
            answered = self._waiting.popleft()
            record = self.records.of(answered.decision_id, answered.request_id)
            if record is None:
                self._waiting.append(answered)
                continue
            self._decisions[record["decision_id"]] = answered
            self._judge_one(answered, record)

    def finish(self, everything: Iterable[Record]) -> None:
        """The whole audit: nothing more will come."""
        decisions = dict(self._decisions)
        waiting = {answered.decision_id or answered.request_id for answered in self._waiting}
        wanted: list[Record] = []
        self.records.forget_gaps()
        for record in everything:
            decisions.pop(record["decision_id"], None)
            if record["type"] == "gap" or record["decision_id"] in waiting or record["request_id"] in waiting:
                wanted.append(record)
        self.judge(wanted)
        self.found(*(Finding(one.sent, "the record is gone that was there", one) for one in decisions.values()))
        self._judge_missing()
        self._judge_shares()

    def found(self, *findings: Finding) -> None:
        """Keep findings."""
        self.findings += findings[: FOUND - len(self.findings)]

    def report(self, what: str) -> None:
        """Something that is about no request; told once."""
        if all(finding.what != what for finding in self.findings):
            self.found(Finding(time.monotonic(), what))

    def _judge_one(self, answered: Answered, record: Record) -> None:
        finding = self._judge.judge(answered, record)
        if finding is not None:
            self.found(finding)
        if record["reason"] in FAILURES:
            self._failed(answered, record["reason"], record)
        else:
            self.reasons[record["reason"]] += 1

    def _failed(self, answered: Answered, what: str, record: Record | None) -> None:
        self.reasons[what] += 1
        kinds = self._judge.explains(answered)
        self.failed[_kinds(kinds)] += 1
        if not kinds:
            self._unexplained.append(Finding(answered.sent, f"no decision: {what}", answered, record))
            del self._unexplained[FOUND:]

    def _judge_missing(self) -> None:
        """What is allowed is never lost; of denials, as many as the audit itself says."""
        missing = []
        for answered in self._waiting:
            other = self.records.denied(answered.request_id) if answered.allowed else None
            if other is not None:
                self.found(Finding(answered.sent, "a wrong allow: only a denial is on record", answered, other))
            elif answered.allowed:
                self.found(Finding(answered.sent, "there is no record of what was allowed", answered))
            else:
                missing.append(Finding(answered.sent, "there is no record", answered))
        if len(missing) > self.records.dropped:
            self.found(*missing)

    def _judge_shares(self) -> None:
        unexplained = self.failed[""]
        if unexplained > max(UNEXPLAINED_AT_LEAST, UNEXPLAINED_SHARE * self.requests):
            self.found(*self._unexplained)
        for kinds in ("kill_worker", "stop_worker", "kill_worker stop_worker"):
            asked, failed = self._during[kinds], self.failed[kinds]
            if asked > SMALL and failed > KILLED_SHARE * asked:
                self.report(f"{failed} of {asked} requests failed during {kinds}")


def _kinds(kinds: set[str]) -> str:
    return " ".join(sorted(kinds))
