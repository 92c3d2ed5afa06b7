"""What clients get for their requests through a real Envoy: allowed, or denied with each reason."""

import ssl
from collections.abc import Callable
from datetime import timedelta

import grpc
import pytest
from msgspec import Struct, structs

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, Caller, Reply, grpc_say, http1, http2
from tests.envoy.identities import WEB
from tests.envoy.stack import GRPC_HOST, Stack

Send = Callable[[Caller, int, Ask], Reply]
ISSUER_WITHOUT_KEYS = "https://silent.example/"
POLICIES = {
    "shop/orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: customers-read-their-orders
            effect: allow
            from:
              - workloads: ["spiffe://shop.example/ns/front/**"]
                users: {issuer: corp, scopes: ["orders:read"]}
            to: [{methods: [GET], paths: ["/orders/{order_id}"]}]
            when: user.claims.customer == path.order_id.split("-")[0]
            answer:
              set_headers: {x-user: user.subject}
          - id: the-nightly-job-lists
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/batch/sa/nightly"]}]
            to: [{methods: [GET], paths: ["/orders"]}]
          - id: everybody-reads-what-is-public
            effect: allow
            from: anyone
            to: [{paths: ["/public/**"]}]
          - id: nobody-deletes
            effect: deny
            to: [{methods: [DELETE]}]
          - id: exports-have-a-purpose
            effect: deny
            to: [{paths: ["/export/**"]}]
            when: request.headers["x-purpose"] == "none"
    """,
    "shop/grpc.yaml": """
        kind: service
        name: echo
        hosts: [grpc.shop.example]
        rules:
          - id: the-front-speaks
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
            to: [{grpc: {service: echo.v1.Echo, methods: [Say]}}]
    """,
}


class Denied(Struct, frozen=True):
    """A request that is denied, and how. `token` is a name in `credentials`."""

    caller: str | None = "web"
    token: str | None = "good"
    ask: Ask = Ask(target="/orders/c7-1")
    status: int = 403
    reason: str = "no_rule_allows"
    public_reason: str | None = None
    """What the client is told, where it differs."""
    rule: str | None = None


DENIED = {
    "another customer's order": Denied(ask=Ask(target="/orders/c8-1")),
    "wrong workload": Denied(caller="batch"),
    "wrong method": Denied(ask=Ask("POST", "/orders/c7-1")),
    "right workload, no user": Denied(token=None, status=401, reason="unauthenticated"),
    "no certificate, no user": Denied(caller=None, token=None),
    "no certificate, right user": Denied(caller=None),
    "missing scope": Denied(token="no scope"),
    "deny rule": Denied(ask=Ask("DELETE", "/orders/c7-1"), reason="denied_by_rule", rule="shop/orders/nobody-deletes"),
    "deny rule that cannot be evaluated": Denied(
        ask=Ask(target="/export/all"), reason="deny_rule_error", rule="shop/orders/exports-have-a-purpose"
    ),
    "unknown host": Denied(ask=Ask(authority="nobody.example"), reason="no_service"),
    "expired token": Denied(token="expired", status=401, reason="token_expired", public_reason="token_invalid"),
    "foreign token": Denied(token="foreign", status=401, reason="token_invalid"),
    "unsigned token": Denied(token="unsigned", status=401, reason="token_invalid"),
    "no token at all": Denied(token="empty", status=401, reason="token_invalid"),
    "issuer without keys": Denied(token="silent", status=503, reason="issuer_unavailable"),
    "two names in the certificate": Denied(caller="two-names", reason="workload_refused"),
    "another trust domain": Denied(caller="other-domain", reason="workload_refused"),
    "two credentials": Denied(
        ask=Ask(headers=(("authorization", "Bearer x"),)), status=400, reason="malformed_request"
    ),
    "parameters in the path": Denied(ask=Ask(target="/orders/c7-1;a=b"), status=400, reason="ambiguous_path"),
    "twice encoded": Denied(ask=Ask(target="/public/%252e%252e/admin"), status=400, reason="ambiguous_path"),
    "escaped dots": Denied(ask=Ask(target="/public/%2e%2e/admin")),
}


def credentials(stack: Stack, name: str | None) -> list[tuple[str, str]]:
    """The Authorization header of that name."""
    match name:
        case None:
            return []
        case "empty":
            token = ""
        case "good":
            token = stack.token("ann", "orders:read", customer="c7")
        case "no scope":
            token = stack.token("ann", customer="c7")
        case "expired":
            token = stack.token("ann", "orders:read", age=timedelta(hours=1), customer="c7")
        case "silent":
            token = stack.token("ann", "orders:read", iss=ISSUER_WITHOUT_KEYS, customer="c7")
        case "foreign":
            token = stack.token("ann", "orders:read", customer="c7")[:-8] + "AAAAAAAA"
        case _:
            header, payload, _signature = stack.token("ann", "orders:read", customer="c7").split(".")
            token = f"{header}.{payload}."
    return [("authorization", f"Bearer {token}")]


@pytest.mark.parametrize("send", [http1, http2])
def test_what_a_rule_allows_reaches_the_service(stack: Stack, send: Send) -> None:
    """The service sees the asserted user, never the client's own word, and the decision is on record."""
    ask = Ask("GET", "/orders/c7-1?page=2", headers=[*credentials(stack, "good"), ("x-user", "root")])
    reply = send(stack.identities.caller("web"), stack.port, ask)
    assert reply.status == 200
    assert reply.json()["headers"]["x-user"] == "ann"
    access = stack.access(request_id=reply.json()["headers"]["x-request-id"])
    record = stack.record(decision_id=access["decision_id"])
    expected = {
        "decision": "allow",
        "reason": "allowed",
        "rule": "shop/orders/customers-read-their-orders",
        "service": "shop/orders",
        "workload": WEB,
        "user": {"issuer": "corp", "subject": "ann"},
        "method": "GET",
        "host": "orders.shop.example",
        "path": "/orders/c7-1",
        "client_ip": "127.0.0.1",
    }
    assert {name: record[name] for name in expected} == expected


@pytest.mark.parametrize("send", [http1, http2])
@pytest.mark.parametrize("denied", DENIED.values(), ids=DENIED.keys())
def test_denials_say_why(stack: Stack, denied: Denied, send: Send) -> None:
    """The client gets status and public reason, the record has reason and rule, the service sees nothing."""
    before = len(stack.http.seen())
    ask = structs.replace(denied.ask, headers=[*credentials(stack, denied.token), *denied.ask.headers])
    reply = send(stack.identities.caller(denied.caller), stack.port, ask)
    record = stack.record(decision_id=reply.decision_id)
    assert (reply.status, reply.reason) == (denied.status, denied.public_reason or denied.reason)
    assert (record["decision"], record["reason"], record["rule"]) == ("deny", denied.reason, denied.rule)
    assert ("www-authenticate" in reply.headers) == (denied.status == 401)
    assert len(stack.http.seen()) == before


def test_a_host_with_a_user_in_it_is_no_host(stack: Stack) -> None:
    """HTTP/1.1 lets a client send one; over HTTP/2 Envoy ends the connection."""
    ask = Ask(authority="root@orders.shop.example", headers=credentials(stack, "good"))
    reply = http1(stack.identities.caller("web"), stack.port, ask)
    assert (reply.status, reply.reason) == (400, "bad_host")


def test_a_method_in_lower_case_is_no_method(stack: Stack) -> None:
    """HTTP/2 lets a client send one; HTTP/1.1 does not."""
    ask = Ask("get", "/orders/c7-1", headers=credentials(stack, "good"))
    reply = http2(stack.identities.caller("web"), stack.port, ask)
    assert (reply.status, reply.reason) == (400, "bad_method")


def test_envoys_access_log_tells_the_decision(stack: Stack) -> None:
    """What the client was told and what was recorded can be found by one id."""
    reply = http1(stack.identities.caller("web"), stack.port, Ask("DELETE", "/orders/c7-1"))
    line = stack.access(decision_id=reply.decision_id)
    expected = {
        "status": 403,
        "decision": "deny",
        "reason": "denied_by_rule",
        "rule": "shop/orders/nobody-deletes",
        "service": "shop/orders",
        "workload": WEB,
        "peer_uri_san": WEB,
        "path": "/orders/c7-1",
    }
    assert {name: line[name] for name in expected} == expected


def test_a_grpc_call_is_allowed_by_service_and_method(stack: Stack) -> None:
    """The echo comes back."""
    assert grpc_say(stack.identities.caller("web"), stack.port, GRPC_HOST, b"hello") == b"hello"


def test_a_denied_grpc_call_gets_a_grpc_status(stack: Stack) -> None:
    """Envoy turns the denial into the status that gRPC clients understand, and the service sees nothing."""
    before = len(stack.grpc.seen())
    with pytest.raises(grpc.RpcError) as denied:
        grpc_say(stack.identities.caller("batch"), stack.port, GRPC_HOST, b"hello")
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert (denied.value.details() or "").startswith("Access denied. (reason no_rule_allows, decision ")
    assert len(stack.grpc.seen()) == before


def test_a_certificate_of_a_foreign_authority_ends_in_envoys_access_log(stack: Stack) -> None:
    """Envoy refuses the handshake by itself, and says so; our server never hears of it."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        http1(stack.identities.caller("foreign"), stack.port, Ask())

    def told() -> bool:
        # Not the latest failure of a handshake: a caller of another test may have hung up in the midst of one.
        failed = [line for line in stack.accesses() if line.get("peer_uri_san") == WEB and line.get("status") is None]
        return any("CERTIFICATE_VERIFY_FAILED" in (line.get("tls_failure") or "") for line in failed)

    wait_until(told, 20, "Envoy's log to tell of the handshake")


def test_metrics_count_decisions_of_all_workers(stack: Stack) -> None:
    """A denial adds one, whichever worker decided."""
    labels = {"decision": "deny", "reason": "denied_by_rule"}
    before = stack.metric("authz_decisions_total", **labels)
    http1(stack.identities.caller("web"), stack.port, Ask("DELETE", "/orders/c7-1"))
    assert stack.metric("authz_decisions_total", **labels) == before + 1
