"""Each thing that the soak looks at is seen, and what has an explanation is none."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from tests.reference.asked import Asked
from tests.soak.docket import Docket
from tests.soak.issuer import Issuers
from tests.soak.judge import Answered, Judge
from tests.soak.revisions import Revision
from tests.soak.timeline import Timeline

RULE = {"id": "a", "effect": "allow", "from": "anyone", "to": [{"paths": ["/a"]}]}
BEFORE = {"s.yaml": {"kind": "service", "name": "s", "hosts": ["*"], "rules": []}}
NOW = {"s.yaml": {"kind": "service", "name": "s", "hosts": ["*"], "rules": [RULE]}}
REVISIONS = {"old": Revision(0, BEFORE), "new": Revision(1, NOW)}
ALLOWED = Answered(sent=10.0, done=10.1, asked=Asked(target="/a"), status=200, allowed=True, request_id="r")
DENIED = Answered(sent=10.0, done=10.1, asked=Asked(target="/b"), status=403, decision_id="d")
FAILED = Answered(sent=10.0, done=10.1, asked=Asked(target="/a"), status=503)


def record(**fields: Any) -> dict[str, Any]:
    """The record of ALLOWED, with these changes."""
    return {
        "type": "decision",
        "time": "2026-03-02T10:00:00.000000Z",
        "decision_id": "d",
        "request_id": "r",
        "revision": "new",
        "decision": "allow",
        "reason": "allowed",
        "rule": "s/a",
        "method": "GET",
        "workload": None,
        "user": None,
        **fields,
    }


DENIAL: Mapping[str, Any] = {"decision": "deny", "reason": "no_rule_allows", "rule": None}


@pytest.fixture(name="timeline")
def _timeline() -> Timeline:
    timeline = Timeline()
    timeline.report(1, 9.0)
    return timeline


@pytest.fixture(name="issuers")
def _issuers() -> Issuers:
    return Issuers()


@pytest.fixture(name="docket")
def _docket(timeline: Timeline, issuers: Issuers) -> Docket:
    return Docket(Judge(REVISIONS, timeline, issuers))


def found(docket: Docket, answered: Answered, *records: dict[str, Any]) -> list[str]:
    """What is found about one answer."""
    docket.take([answered])
    docket.judge(records)
    docket.finish(records)
    return [finding.what for finding in docket.findings]


def test_right_answers_are_no_findings(docket: Docket) -> None:
    """An allow and a denial, each with its record."""
    assert found(docket, ALLOWED, record()) == []
    assert found(docket, DENIED, record(**DENIAL)) == []
    assert docket.reasons == {"allowed": 1, "no_rule_allows": 1}


@pytest.mark.parametrize(
    ("answered", "fields", "what"),
    [
        (replace(ALLOWED, asked=Asked(target="/b")), {}, "a wrong allow"),
        (ALLOWED, {"rule": "s/b"}, "a wrong allow"),
        (replace(DENIED, asked=Asked(target="/a")), DENIAL, "not what the reference decides"),
        (DENIED, {**DENIAL, "reason": "denied_by_rule"}, "not what the reference decides"),
        (replace(DENIED, asked=Asked(target="/a")), {}, "the answer is not what is on record"),
        (ALLOWED, DENIAL, "a wrong allow: only a denial is on record"),
        (DENIED, {**DENIAL, "revision": "old"}, "decided by an older revision than one that had been reported active"),
        (DENIED, {**DENIAL, "revision": "none"}, "decided by policies that are not good, or by none"),
        (DENIED, {**DENIAL, "reason": "internal_error"}, "a failure inside"),
        (DENIED, {**DENIAL, "workload": "spiffe://shop.example/a"}, "the record tells of somebody else"),
        (replace(DENIED, status=401), DENIAL, "the status 401 is that of another reason"),
    ],
)
def test_a_wrong_answer_is_found(docket: Docket, answered: Answered, fields: Mapping[str, Any], what: str) -> None:
    """Whether the answer, the record or the revision is wrong."""
    assert found(docket, answered, record(**fields)) == [what]


def test_an_answer_without_a_record_is_found(docket: Docket) -> None:
    """Nothing else tells of it."""
    assert found(docket, ALLOWED, record(request_id="another")) == ["there is no record of what was allowed"]


def test_a_denial_without_a_record_is_found(docket: Docket) -> None:
    """Where the audit says of no loss."""
    assert found(docket, DENIED) == ["there is no record"]


def test_a_record_that_is_gone_is_found(docket: Docket) -> None:
    """One that was there while the server ran, and is not in the files in the end."""
    docket.take([DENIED])
    docket.judge([record(**DENIAL)])
    docket.finish([])
    assert [finding.what for finding in docket.findings] == ["the record is gone that was there"]


def test_records_that_the_audit_says_are_lost_are_not_missed(docket: Docket) -> None:
    """So many denials and no more, and nothing that was allowed."""
    gap = {"type": "gap", "decision_id": "g", "dropped": 1}
    assert found(docket, DENIED, gap) == []
    docket.take([replace(DENIED, decision_id="another")])
    docket.finish([gap])
    assert [finding.what for finding in docket.findings] == ["there is no record"] * 2


def test_what_is_allowed_has_a_record_whatever_is_lost(docket: Docket) -> None:
    """A gap is no excuse for it."""
    assert found(docket, ALLOWED, {"type": "gap", "decision_id": "g", "dropped": 9}) == [
        "there is no record of what was allowed"
    ]


def test_no_room_for_records_denies_what_would_be_allowed(docket: Docket, timeline: Timeline) -> None:
    """While the audit is hindered, and nothing else."""
    denial = {**DENIAL, "reason": "audit_unavailable"}
    unrecorded = replace(DENIED, asked=Asked(target="/a"), status=503)
    assert found(docket, unrecorded, record(**denial)) == ["not what the reference decides"]
    timeline.begin("full_disk").begin = 9.0
    assert found(docket, unrecorded, record(**denial)) == ["not what the reference decides"]
    assert found(docket, replace(DENIED, status=503), record(**denial)) == ["not what the reference decides"] * 2


def test_an_older_revision_is_right_until_the_newer_one_is_reported(docket: Docket, timeline: Timeline) -> None:
    """What counts is when the request was sent."""
    assert found(docket, replace(DENIED, sent=8.0), record(**DENIAL, revision="old")) == []
    assert timeline.newest_reported(9.5) == 1


def test_a_key_that_nobody_can_know_yet_explains_a_refused_token(docket: Docket, issuers: Issuers) -> None:
    """But not once its issuers have told of it."""
    kid = issuers.rotate()
    refused = replace(DENIED, asked=Asked(target="/a", user={"issuer": "corp", "sub": "ann"}), kid=kid, status=401)
    fields = {**DENIAL, "reason": "token_invalid"}
    assert found(docket, refused, record(**fields)) == []
    issuers._served[kid] = 1.0
    assert found(docket, refused, record(**fields)) == ["not what the reference decides"]


def test_failures_are_explained_by_an_outage_alone(docket: Docket, timeline: Timeline) -> None:
    """A few have other reasons on a busy machine; more are findings."""
    for _ in range(3):
        assert found(docket, FAILED) == []
    assert found(docket, FAILED) == ["no decision: status 503 without a decision"] * 4


def test_an_outage_explains_failures(docket: Docket, timeline: Timeline) -> None:
    """As long as its traces are there."""
    span = timeline.begin("kill_control")
    span.begin, span.end = 9.0, 10.05
    docket.take([FAILED] * 10)
    docket.finish([])
    assert docket.findings == []
    docket.take([replace(FAILED, sent=11.0, done=11.1)] * 10)
    docket.finish([])
    assert len(docket.findings) == 10


def test_workers_that_are_killed_may_cost_few_answers(docket: Docket, timeline: Timeline) -> None:
    """Envoy asks the other one."""
    timeline.begin("kill_worker").begin = 0.0
    docket.take([FAILED] * 20)
    docket.take([DENIED] * 280)
    docket.judge([record(**DENIAL)])
    docket.finish([record(**DENIAL)])
    assert docket.findings == []
    docket.take([FAILED] * 20)
    docket.finish([record(**DENIAL)])
    assert [finding.what for finding in docket.findings] == ["40 of 320 requests failed during kill_worker"]
