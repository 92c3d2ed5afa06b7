"""The phases of a check, from request to decision, with policies as people write them."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.errors import Reason
from authz_server.model import Decision, Request
from authz_server.pipeline import check, decision_id
from authz_server.snapshot import Snapshot
from tests.builders import plan_of, request, snapshot_of

WEB = "spiffe://shop.example/ns/front/sa/web"
BATCH = "spiffe://shop.example/ns/batch/sa/report"
NOW = 1_772_442_000.0

ORDERS = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: web-reads-orders
        effect: allow
        from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
        to: [{methods: [GET], paths: ["/orders/{order_id}"]}]
        when: path.order_id != "c9-1"
        answer: {set_headers: {x-order: path.order_id}}
      - id: anyone-reads-public
        effect: allow
        from: anyone
        to: [{paths: ["/public/**", "/Admin/public"]}]
      - id: users-read-profile
        effect: allow
        from: [{users: any}]
        to: [{methods: [GET], paths: [/profile]}]
      - id: nobody-reads-secrets
        effect: deny
        to: [{paths: ["/public/secret", "/admin/**"]}]
      - id: no-deletes-of-c1
        effect: deny
        to: [{paths: ["/orders/{order_id}"]}]
        when: path.order_id.startsWith("c1-")
        answer: {status: 410, hint: "'gone'"}
      - id: wide-allow-of-batch
        effect: allow
        from: [{workloads: ["spiffe://shop.example/ns/batch/sa/*"]}]
      - id: inner-network
        effect: allow
        from: [{networks: ["10.0.0.0/8"]}]
        to: [{paths: [/inner]}]
      - id: outer-network-is-out
        effect: deny
        from: [{networks: ["192.0.2.0/24"]}]
        to: [{paths: [/inner]}]
      - id: sockets
        effect: allow
        from: anyone
        to: [{paths: [/socket], upgrade: websocket}]
      - id: calls
        effect: allow
        from: anyone
        to: [{grpc: {service: orders.v1.Orders, methods: [Get]}}]
"""
GUARDRAILS = """\
    kind: guardrails
    rules:
      - id: no-trace
        effect: deny
        to: [{methods: [TRACE]}]
"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The policies of this module."""
    directory: Path = tmp_path_factory.mktemp("policies")
    return snapshot_of(plan_of(directory, orders=ORDERS, guardrails=GUARDRAILS))


def decided(snapshot: Snapshot, *args: Any, **fields: Any) -> Decision:
    """The decision about one request."""
    return check(request(*args, **fields), snapshot, NOW)


GRPC = {"content-type": "application/grpc"}
WEBSOCKET = {"upgrade": "websocket", "connection": "upgrade"}

CASES: list[tuple[dict[str, Any], Reason, str | None]] = [
    ({"path": "/orders/c7-1", "workload": WEB}, Reason.ALLOWED, "orders/web-reads-orders"),
    ({"path": "/orders/c7-1"}, Reason.NO_RULE_ALLOWS, None),
    ({"path": "/orders/c9-1", "workload": WEB}, Reason.NO_RULE_ALLOWS, None),
    ({"path": "/orders/c7-1/", "workload": WEB}, Reason.NO_RULE_ALLOWS, None),
    ({"path": "/Orders/c7-1", "workload": WEB}, Reason.NO_RULE_ALLOWS, None),
    ({"path": "/orders/c1-1", "workload": WEB}, Reason.DENIED_BY_RULE, "orders/no-deletes-of-c1"),
    ({"path": "/ORDERS/C1-1", "workload": BATCH}, Reason.DENIED_BY_RULE, "orders/no-deletes-of-c1"),
    ({"path": "/public/a"}, Reason.ALLOWED, "orders/anyone-reads-public"),
    ({"path": "/public"}, Reason.NO_RULE_ALLOWS, None),
    ({"path": "/public/"}, Reason.NO_RULE_ALLOWS, None),
    ({"path": "/public/secret"}, Reason.DENIED_BY_RULE, "orders/nobody-reads-secrets"),
    ({"path": "/public/secret/"}, Reason.DENIED_BY_RULE, "orders/nobody-reads-secrets"),
    ({"path": "/public/SECRET"}, Reason.DENIED_BY_RULE, "orders/nobody-reads-secrets"),
    ({"path": "/public/secret."}, Reason.DENIED_BY_RULE, "orders/nobody-reads-secrets"),
    ({"path": "/public/secret%20"}, Reason.DENIED_BY_RULE, "orders/nobody-reads-secrets"),
    ({"path": "/public/secret/%20"}, Reason.DENIED_BY_RULE, "orders/nobody-reads-secrets"),
    ({"path": "/Admin/public"}, Reason.DENIED_BY_RULE, "orders/nobody-reads-secrets"),
    ({"path": "/admin/...", "workload": BATCH}, Reason.DENIED_BY_RULE, "orders/nobody-reads-secrets"),
    ({"path": "/public/%2e%2e/admin"}, Reason.AMBIGUOUS_PATH, None),
    ({"path": "/profile"}, Reason.UNAUTHENTICATED, None),
    ({"path": "/profile", "headers": {"authorization": "Basic eA=="}}, Reason.UNAUTHENTICATED, None),
    ({"path": "/profile", "headers": {"authorization": "Bearer nonsense"}}, Reason.TOKEN_INVALID, None),
    ({"path": "/public/a", "headers": {"authorization": "Bearer nonsense"}}, Reason.TOKEN_INVALID, None),
    ({"path": "/public/a", "headers": {"authorization": "DPoP a.b.c"}}, Reason.TOKEN_INVALID, None),
    ({"path": "/anything", "workload": BATCH}, Reason.ALLOWED, "orders/wide-allow-of-batch"),
    ({"path": "/anything", "workload": BATCH + "/more"}, Reason.NO_RULE_ALLOWS, None),
    ({"path": "/anything", "workload": BATCH, "headers": WEBSOCKET}, Reason.NO_RULE_ALLOWS, None),
    ({"path": "/a", "workload": "spiffe://other.example/ns/batch/sa/x"}, Reason.WORKLOAD_REFUSED, None),
    ({"path": "/inner", "client_address": "10.1.2.3"}, Reason.ALLOWED, "orders/inner-network"),
    ({"path": "/inner", "client_address": "::ffff:10.1.2.3"}, Reason.ALLOWED, "orders/inner-network"),
    ({"path": "/inner", "client_address": "11.1.2.3"}, Reason.NO_RULE_ALLOWS, None),
    ({"path": "/inner"}, Reason.DENIED_BY_RULE, "orders/outer-network-is-out"),
    ({"path": "/socket", "headers": WEBSOCKET}, Reason.ALLOWED, "orders/sockets"),
    ({"path": "/socket"}, Reason.NO_RULE_ALLOWS, None),
    ({"method": "POST", "path": "/orders.v1.Orders/Get", "headers": GRPC}, Reason.ALLOWED, "orders/calls"),
    ({"method": "POST", "path": "/orders.v1.Orders/Get?a=b", "headers": GRPC}, Reason.NO_RULE_ALLOWS, None),
    ({"method": "POST", "path": "/orders.v1.Orders/get", "headers": GRPC}, Reason.NO_RULE_ALLOWS, None),
    ({"method": "POST", "path": "/orders.v1.Orders/Get"}, Reason.NO_RULE_ALLOWS, None),
    ({"method": "TRACE", "path": "/public/a"}, Reason.DENIED_BY_RULE, "guardrails/no-trace"),
    ({"method": "CONNECT", "path": "", "workload": BATCH}, Reason.NO_RULE_ALLOWS, None),
    ({"method": "get", "path": "/public/a"}, Reason.BAD_METHOD, None),
    ({"path": "/public/a", "host": "a@b"}, Reason.BAD_HOST, None),
    ({"path": "/public/a", "host": "unknown.example"}, Reason.NO_SERVICE, None),
    ({"path": "/public/a", "host": "ORDERS.shop.example.:80"}, Reason.ALLOWED, "orders/anyone-reads-public"),
    ({"path": "/public/a", "extensions": {"service": "nobody"}}, Reason.NO_SERVICE, None),
    (
        {"path": "/public/a", "host": "x", "extensions": {"service": "orders"}},
        Reason.ALLOWED,
        "orders/anyone-reads-public",
    ),
    ({"path": "/public/a", "headers": {"x_user": "root"}}, Reason.HEADER_CONFLICT, None),
]


@pytest.mark.parametrize(("fields", "reason", "rule"), CASES, ids=lambda value: str(value)[:60])
def test_a_request_gets_its_decision(
    snapshot: Snapshot, fields: dict[str, Any], reason: Reason, rule: str | None
) -> None:
    """Each request has the reason and the rule that the policy language gives it."""
    decision = decided(snapshot, **fields)
    assert (decision.reason, decision.rule) == (reason, rule), decision.detail


@pytest.mark.parametrize(
    ("wanted", "number", "detail"),
    [
        ("7", 7, None),
        ("7", 2**53 - 1, None),
        ("8", 7, "the route demands revision 8, and the policies are of 7"),
        ("10", 9, "the route demands revision 10, and the policies are of 9"),
        ("1", None, "the route demands revision 1, and the policies have no number"),
        *(
            (wanted, 7, "the route's `min_revision` is no number")
            for wanted in ("", "0", "07", "-1", "7 ", "\u0667", "1e1")
        ),
        ("9" * 17, 7, "the route's `min_revision` is no number"),
    ],
)
def test_a_route_may_demand_a_revision_at_least(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, wanted: str, number: int | None, detail: str | None
) -> None:
    """A worker whose policies are older, or of which that cannot be told, denies, whatever is asked."""
    monkeypatch.setattr(snapshot.policies, "number", number)
    extensions = {"min_revision": wanted}
    decision = decided(snapshot, path="/public/a", extensions=extensions)
    assert decision.reason is (Reason.ALLOWED if detail is None else Reason.NOT_READY)
    assert decision.detail == detail
    assert decision.revision == snapshot.policies.revision
    malformed = decided(snapshot, path="/public/%2e%2e/admin", extensions=extensions)
    assert malformed.reason is (Reason.AMBIGUOUS_PATH if detail is None else Reason.NOT_READY)


def test_an_allowed_request_carries_what_the_rule_sets_and_no_forged_identity(snapshot: Snapshot) -> None:
    """Headers of the deciding rule are set; every other identity header is removed."""
    decision = decided(snapshot, path="/orders/c7-1", workload=WEB)
    assert [(header.name, header.value) for header in decision.answer.set_headers] == [("x-order", "c7-1")]
    assert decision.answer.remove_headers == ("x-user",)
    other = decided(snapshot, path="/public/a")
    assert other.answer.remove_headers == ("x-order", "x-user")


def test_a_denial_has_the_status_and_hint_of_its_rule(snapshot: Snapshot) -> None:
    """A deny rule can say more than 403."""
    decision = decided(snapshot, path="/orders/c1-1", workload=WEB)
    assert (decision.answer.status, decision.answer.hint) == (410, "gone")


def test_a_decision_names_revision_caller_and_operation(snapshot: Snapshot) -> None:
    """The record can be written from the decision alone, and the query is not in it."""
    decision = decided(snapshot, path="/orders/c7-1?token=secret", workload=WEB, client_address="10.0.0.1", id="r1")
    assert decision.revision == snapshot.policies.revision
    assert decision.workload is not None
    assert decision.workload.id.text == WEB
    assert (decision.method, decision.host, decision.path) == ("GET", "orders.shop.example", "/orders/c7-1")
    assert (decision.service, decision.client_ip, decision.request_id) == ("orders", "10.0.0.1", "r1")
    assert "secret" not in repr(decision)


def test_an_empty_request_is_denied(snapshot: Snapshot) -> None:
    """Any attribute may be missing."""
    assert not check(Request(), snapshot, NOW).allowed


def test_decision_ids_are_version_7_and_unique() -> None:
    """RFC 9562 section 5.7: time, version, variant."""
    ids = {decision_id(NOW) for _ in range(1000)}
    assert len(ids) == 1000
    for text in ids:
        assert text[14] == "7"
        assert text[19] in "89ab"
        assert int(text[:8] + text[9:13], 16) == int(NOW * 1000)
