"""Rules and services in audit: what they would have done is recorded, and not done."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.errors import Reason
from authz_server.model import Answer, Decision, HeaderChange
from authz_server.pipeline import check
from authz_server.snapshot import Snapshot
from tests.builders import plan_of, request, snapshot_of

NOW = 1_772_442_000.0
WEB = "spiffe://shop.example/ns/front/sa/web"
GUARDRAILS = """
    kind: guardrails
    rules:
      - {id: no-trace, effect: deny, to: [{methods: [TRACE]}]}
      - {id: broken, effect: deny, to: [{paths: [/broken]}], when: 'request.headers["x-a"] == "b"'}
      - {id: soon, effect: deny, mode: audit, to: [{paths: [/soon]}]}
"""
LEGACY = """
    kind: service
    name: legacy
    hosts: [legacy.shop.example]
    mode: audit
    rules:
      - {id: all, effect: allow, from: anyone, to: [{paths: [/ok, /soon]}], answer: {set_headers: {x-team: "'a'"}}}
      - {id: a-deny, effect: deny, to: [{methods: [TRACE, DELETE]}]}
      - {id: unknown, effect: deny, to: [{paths: [/unknown]}], when: 'request.headers["x-a"] == "b"'}
      - {id: users, effect: allow, from: [{users: any}], to: [{paths: [/me]}]}
      - {id: strong, effect: allow, from: [{users: any}], to: [{paths: [/strong]}], requires: {acr: [mfa]}}
"""
ORDERS = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: all, effect: allow, from: anyone, to: [{paths: ["/a/**"]}], answer: {set_headers: {x-team: "'a'"}}}
      - {id: deny-soon, effect: deny, mode: audit, to: [{paths: [/a/deny]}], answer: {status: 404}}
      - {id: error-soon, effect: deny, mode: audit, to: [{paths: [/a/error]}], when: 'request.headers["x-a"] == "b"'}
      - {id: not-now, effect: deny, mode: audit, to: [{paths: [/a/later]}], valid: {from: "2030-01-01T00:00:00Z"}}
      - {id: allow-soon, effect: allow, mode: audit, from: anyone, to: [{paths: [/b]}],
         answer: {set_headers: {x-later: "'a'"}}}
      - {id: allow-error, effect: allow, mode: audit, from: anyone, to: [{paths: [/b]}],
         when: 'request.headers["x-a"] == "b"'}
      - {id: allow-strong, effect: allow, mode: audit, from: anyone, to: [{paths: [/b]}], requires: {acr: [mfa]}}
      - {id: users-soon, effect: allow, mode: audit, from: [{users: any}], to: [{paths: [/me]}]}
"""


@pytest.fixture(scope="module", name="snapshot")
def _snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    directory: Path = tmp_path_factory.mktemp("policies")
    return snapshot_of(plan_of(directory, guardrails=GUARDRAILS, legacy=LEGACY, orders=ORDERS))


def legacy(snapshot: Snapshot, method: str = "GET", path: str = "/", **fields: Any) -> Decision:
    """What the service in audit decides."""
    return check(request(method, path, host=fields.pop("host", "legacy.shop.example"), **fields), snapshot, NOW)


def bearer(token: str) -> dict[str, str]:
    """A credential that no issuer has signed."""
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("asked", "reason", "rule"),
    [
        ({"path": "/other"}, Reason.NO_RULE_ALLOWS, None),
        ({"path": "/me"}, Reason.UNAUTHENTICATED, None),
        ({"path": "/strong"}, Reason.UNAUTHENTICATED, None),
        ({"method": "DELETE", "path": "/ok"}, Reason.DENIED_BY_RULE, "legacy/a-deny"),
        ({"path": "/unknown"}, Reason.DENY_RULE_ERROR, "legacy/unknown"),
        ({"path": "/ok", "headers": bearer("a.b.c")}, Reason.TOKEN_INVALID, None),
        ({"path": "/ok", "headers": {"authorization": "DPoP a.b.c"}}, Reason.TOKEN_INVALID, None),
    ],
)
def test_what_a_service_in_audit_would_deny_is_allowed(
    snapshot: Snapshot, asked: dict[str, Any], reason: Reason, rule: str | None
) -> None:
    """With the denial on record, and without any identity header."""
    decision = legacy(snapshot, **asked)
    assert (decision.reason, decision.rule, decision.mode, decision.would_deny) == (reason, rule, "audit", True)
    assert decision.allowed
    assert decision.service == "legacy"
    assert decision.answer == Answer(remove_headers=("x-team", "x-user"))


def test_what_a_service_in_audit_allows_is_allowed_as_ever(snapshot: Snapshot) -> None:
    """By its rule, whose answer counts."""
    decision = legacy(snapshot, path="/ok")
    assert (decision.reason, decision.rule, decision.mode, decision.would_deny) == (
        Reason.ALLOWED,
        "legacy/all",
        "audit",
        False,
    )
    assert decision.answer.set_headers == (HeaderChange("x-team", "a"),)


@pytest.mark.parametrize(
    "guardrail",
    [
        "from: [{users: {issuer: corp, groups: [banned]}}]",
        "from: [{anonymous: true}]",
        "from: [{roles: [banned]}]",
        """when: 'has_user && user.subject == "mallory"'""",
    ],
)
def test_no_bad_credential_hides_a_user_from_a_guardrail(tmp_path: Path, guardrail: str) -> None:
    """One that fails beside one that is good would make a banned user nobody."""
    plan = plan_of(
        tmp_path,
        legacy="{kind: service, name: legacy, hosts: [orders.shop.example], mode: audit, rules: []}",
        guardrails=f"{{kind: guardrails, rules: [{{id: ban, effect: deny, {guardrail}}}]}}",
        roles="{kind: roles, roles: {banned: [{users: {issuer: corp, groups: [banned]}}]}}",
    )
    decision = check(request(headers=bearer("a.b.c")), snapshot_of(plan), NOW)
    assert decision.reason is Reason.TOKEN_INVALID
    assert not decision.allowed


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"method": "TRACE", "path": "/ok"}, Reason.DENIED_BY_RULE),
        ({"method": "TRACE", "path": "/other"}, Reason.DENIED_BY_RULE),
        ({"method": "TRACE", "path": "/ok", "headers": bearer("a.b.c")}, Reason.DENIED_BY_RULE),
        ({"path": "/broken"}, Reason.DENY_RULE_ERROR),
        ({"path": "/broken", "headers": bearer("a.b.c")}, Reason.DENY_RULE_ERROR),
        ({"path": "/ok//x"}, Reason.AMBIGUOUS_PATH),
        ({"path": "/ok", "method": "get"}, Reason.BAD_METHOD),
        ({"path": "/ok", "host": "other.shop.example"}, Reason.NO_SERVICE),
        ({"path": "/ok", "host": "other.shop.example", "headers": bearer("a.b.c")}, Reason.TOKEN_INVALID),
        ({"path": "/ok", "workload": "spiffe://other.example/a"}, Reason.WORKLOAD_REFUSED),
        ({"path": "/ok", "headers": {"x_user": "ann"}}, Reason.HEADER_CONFLICT),
        ({"path": "/ok", "headers": {"authorization": "Bearer a, Bearer b"}}, Reason.MALFORMED_REQUEST),
    ],
)
def test_what_a_service_in_audit_denies_all_the_same(snapshot: Snapshot, asked: dict[str, Any], reason: Reason) -> None:
    """Guardrails, also where a rule of the service denies first; and what no rule was asked about."""
    decision = legacy(snapshot, **asked)
    assert decision.reason is reason
    assert not decision.allowed
    assert not decision.would_deny
    if reason in (Reason.DENIED_BY_RULE, Reason.DENY_RULE_ERROR):
        assert decision.rule is not None
        assert decision.rule.startswith("guardrails/")


@pytest.mark.parametrize(
    ("asked", "reason", "rule", "would_deny", "audited"),
    [
        ({"path": "/a/1"}, Reason.ALLOWED, "orders/all", False, ()),
        ({"path": "/a/deny"}, Reason.DENIED_BY_RULE, "orders/deny-soon", True, ("orders/deny-soon",)),
        ({"path": "/A/DENY"}, Reason.NO_RULE_ALLOWS, None, False, ("orders/deny-soon",)),
        ({"path": "/a/error"}, Reason.DENY_RULE_ERROR, "orders/error-soon", True, ("orders/error-soon",)),
        ({"path": "/a/later"}, Reason.ALLOWED, "orders/all", False, ()),
        ({"path": "/soon"}, Reason.NO_RULE_ALLOWS, None, False, ("guardrails/soon",)),
        ({"path": "/b"}, Reason.NO_RULE_ALLOWS, None, False, ("orders/allow-soon",)),
        ({"path": "/me"}, Reason.NO_RULE_ALLOWS, None, False, ()),
        ({"path": "/a/deny", "headers": bearer("a.b.c")}, Reason.TOKEN_INVALID, None, False, ()),
    ],
)
def test_a_rule_in_audit_changes_nothing_and_is_recorded(
    snapshot: Snapshot,
    asked: dict[str, Any],
    reason: Reason,
    rule: str | None,
    would_deny: bool,
    audited: tuple[str, ...],
) -> None:
    """A deny rule that would have denied what is allowed; an allow rule that would have allowed what is denied."""
    decision = check(request(**asked), snapshot, NOW)
    assert (decision.reason, decision.rule, decision.would_deny) == (reason, rule, would_deny)
    assert decision.audited == audited
    assert decision.mode == ("audit" if would_deny else "enforce")
    assert decision.allowed is (would_deny or reason is Reason.ALLOWED)
    if decision.allowed:
        assert decision.answer.set_headers == (HeaderChange("x-team", "a"),)
        assert decision.answer.status is None
    if would_deny:
        assert decision.detail is not None
        assert decision.detail.startswith("allowed by orders/all; ")


def test_a_guardrail_in_audit_denies_nowhere(snapshot: Snapshot) -> None:
    """Not in a service in audit either, where it is recorded."""
    decision = legacy(snapshot, path="/soon")
    assert decision.allowed
    assert (decision.rule, decision.would_deny, decision.audited) == ("guardrails/soon", True, ("guardrails/soon",))


def test_headers_that_only_a_rule_in_audit_sets_are_left_to_the_client(snapshot: Snapshot) -> None:
    """It changes nothing."""
    assert "x-later" not in check(request(path="/a/1"), snapshot, NOW).answer.remove_headers
