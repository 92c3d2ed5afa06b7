"""Services and rules in audit, through a real Envoy: what would be denied arrives, and is on record."""

import pytest

from tests.envoy.clients import Ask, http1
from tests.envoy.stack import Stack

POLICIES = {
    "guardrails.yaml": """
        kind: guardrails
        rules:
          - {id: no-delete, effect: deny, to: [{methods: [DELETE]}]}
    """,
    "legacy.yaml": """
        kind: service
        name: legacy
        hosts: [orders.shop.example]
        mode: audit
        rules:
          - {id: read, effect: allow, from: anyone, to: [{paths: [/ok]}], answer: {set_headers: {x-user: "'nobody'"}}}
          - {id: soon, effect: deny, mode: audit, to: [{methods: [PATCH]}]}
    """,
}


@pytest.mark.parametrize(
    ("ask", "reason", "would_deny", "user"),
    [
        (Ask(target="/ok"), "allowed", False, "nobody"),
        (Ask(target="/other"), "no_rule_allows", True, None),
        (Ask(target="/other", headers=[("x-user", "root")]), "no_rule_allows", True, None),
        (
            Ask(target="/ok", headers=[("authorization", "Bearer a.b.c"), ("x-user", "root")]),
            "token_invalid",
            True,
            None,
        ),
        (Ask(method="PATCH", target="/ok"), "denied_by_rule", True, "nobody"),
    ],
)
def test_a_service_in_audit_allows_and_records_what_it_would_deny(
    stack: Stack, ask: Ask, reason: str, would_deny: bool, user: str | None
) -> None:
    """The upstream is told who calls only by a rule that allows."""
    counted = stack.metric("authz_decisions_total", decision="allow", reason=reason)
    reply = http1(stack.identities.caller("web"), stack.port, ask)
    assert reply.status == 200
    seen = reply.json()["headers"]
    assert dict(seen).get("x-user") == user
    record = stack.record(request_id=dict(seen)["x-request-id"])
    assert (record["decision"], record["reason"], record["would_deny"]) == ("allow", reason, would_deny)
    assert stack.metric("authz_decisions_total", decision="allow", reason=reason) == counted + 1


def test_a_guardrail_denies_in_audit(stack: Stack) -> None:
    """As does what cannot be read in one way, and a caller who is refused."""
    web = stack.identities.caller("web")
    assert http1(web, stack.port, Ask(method="DELETE", target="/ok")).reason == "denied_by_rule"
    assert http1(web, stack.port, Ask(target="/ok;x")).reason == "ambiguous_path"
    assert http1(stack.identities.caller("two-names"), stack.port, Ask(target="/ok")).reason == "workload_refused"
