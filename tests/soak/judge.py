"""Whether an answer is right: held against its record, the reference, and what was going on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from tests.reference.asked import Asked, Expected
from tests.reference.evaluator import evaluate
from tests.reference.worlds import CONDITIONS
from tests.soak.issuer import Issuers
from tests.soak.revisions import Revision
from tests.soak.timeline import Timeline

Record = Mapping[str, Any]

FAILURES = {"not_ready", "overloaded", "deadline", "internal_error"}
"""The server says that it cannot decide."""
OUTAGES = frozenset({"kill_worker", "stop_worker", "kill_control", "restart_control"})
"""What may cost answers, until the server has recovered."""
RESTARTS = frozenset({"kill_control", "restart_control"})
HINDERS_AUDIT = OUTAGES | {"full_disk", "slow_disk", "stop_control"}
"""Records may wait until there is no room for more of them."""
AUDIT_RECOVERS_S = 5.0
"""From its end to the room for more."""
FETCHED_S = 5.0
"""From an issuer's answer to the use of its keys by all workers."""
STATUS = {
    "ambiguous_path": 400,
    "token_invalid": 401,
    "unauthenticated": 401,
    "step_up_required": 401,
    "issuer_unavailable": 503,
    "audit_unavailable": 503,
}
"""Other denials have 403."""


class Answered(Struct, frozen=True, kw_only=True):
    """A request, and what its client got."""

    sent: float
    """Seconds, monotonic."""
    done: float
    asked: Asked
    kid: str | None = None
    """Of the key that signed the token; empty for one that nobody knows."""
    status: int = 0
    allowed: bool = False
    """The service has answered."""
    decision_id: str | None = None
    """Of a denial."""
    request_id: str | None = None
    """Of a request that reached the service."""
    failure: str = ""
    """What happened to the connection; empty where there was an answer."""

    @property
    def decided(self) -> bool:
        """Whether the server decided it, not Envoy or nobody."""
        return self.allowed or self.decision_id is not None


class Finding(NamedTuple):
    """Something that does not hold."""

    at: float
    """When the request was sent, or it was seen; seconds, monotonic."""
    what: str
    answered: Answered | None = None
    record: Record | None = None
    expected: Expected | None = None


class Judge:
    """Knows which revisions there are, and what was going on."""

    def __init__(self, revisions: Mapping[str, Revision], timeline: Timeline, issuers: Issuers) -> None:
        self._revisions = revisions
        self._timeline = timeline
        self._issuers = issuers

    def explains(self, answered: Answered) -> set[str]:
        """What was going on that may have cost an answer."""
        return self._timeline.during(answered.sent, answered.done) & OUTAGES

    def judge(self, answered: Answered, record: Record) -> Finding | None:
        """Hold an answer against its record; None where it is right, or a failure to decide."""
        reason = record["reason"]
        if reason == "internal_error":
            return Finding(answered.sent, "a failure inside", answered, record)
        if reason in FAILURES:
            return _found("a failure to decide is an allow", answered, record) if answered.allowed else None
        if answered.allowed != (record["decision"] == "allow"):
            return _found("the answer is not what is on record", answered, record)
        revision = self._revisions.get(record["revision"])
        if revision is None:
            return _found("decided by policies that are not good, or by none", answered, record)
        if revision.number < self._timeline.newest_reported(answered.sent):
            return _found("decided by an older revision than one that had been reported active", answered, record)
        return self._compare(answered, record, revision)

    def _compare(self, answered: Answered, record: Record, revision: Revision) -> Finding | None:
        asked = replace(answered.asked, now=datetime.fromisoformat(record["time"]).timestamp())
        expected = evaluate(revision.documents, asked, CONDITIONS)
        decided = Expected(record["reason"], record["rule"])
        if decided != expected and not self._is_explained(answered, decided.reason, expected):
            wrong = "a wrong allow" if answered.allowed else "not what the reference decides"
            return Finding(answered.sent, wrong, answered, record, expected)
        if _told(record) != (asked.method, asked.workload, asked.user and asked.user["sub"]) and expected == decided:
            return _about_others(answered, record, expected)
        is_grpc = asked.headers.get("content-type", "").startswith("application/grpc")
        if not answered.allowed and not is_grpc and answered.status != STATUS.get(decided.reason, 403):
            return Finding(answered.sent, f"the status {answered.status} is that of another reason", answered, record)
        return None

    def _is_explained(self, answered: Answered, reason: str, expected: Expected) -> bool:
        """Whether something that was done to the server made it deny what it need not."""
        if reason == "audit_unavailable":
            going_on = self._timeline.during(answered.sent - AUDIT_RECOVERS_S, answered.done)
            return expected.reason == "allowed" and bool(going_on & HINDERS_AUDIT)
        return self._key_is_missing(answered, reason, expected)

    def _key_is_missing(self, answered: Answered, reason: str, expected: Expected) -> bool:
        """Whether a token was refused because its key could not be known everywhere yet."""
        if answered.kid is None or expected.reason == "ambiguous_path":
            return False
        if reason == "issuer_unavailable":
            return bool(self._timeline.during(answered.sent, answered.done) & RESTARTS)
        served = self._issuers.served_at(answered.kid)
        return reason == "token_invalid" and (served is None or answered.sent < served + FETCHED_S)


def _found(what: str, answered: Answered, record: Record) -> Finding:
    return Finding(answered.sent, "a wrong allow: " + what if answered.allowed else what, answered, record)


def _told(record: Record) -> tuple[str, str | None, str | None]:
    return record["method"], record["workload"], record["user"] and record["user"]["subject"]


def _about_others(answered: Answered, record: Record, expected: Expected) -> Finding | None:
    """A record that tells of somebody else; what is refused early tells less."""
    early = expected.reason in ("ambiguous_path", "token_invalid")
    asked = answered.asked
    fits = record["method"] == asked.method and record["workload"] in (
        asked.workload,
        None if early else asked.workload,
    )
    return None if early and fits else Finding(answered.sent, "the record tells of somebody else", answered, record)
