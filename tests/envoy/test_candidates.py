"""A candidate through a real Envoy: judged on what comes, rolled out to one of two workloads, and falls back."""

from authz_server.dev.waiting import wait_until
from tests.builders import write_policies
from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.identities import BATCH, WEB
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant
from tests.json_lines import Line

SERVICE = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: %s
        effect: allow
        from: [{workloads: ["spiffe://shop.example/**"]}]
        to: [{paths: [%s]}]
        answer: {set_headers: {x-user: "'%s'"}}
"""
POLICIES = {"orders.yaml": SERVICE % ("now", "/orders, /stock", "now")}
VARIANT = Variant(
    settings={
        "candidate": {
            "directory": "candidate",
            # By its hash the one workload is in this share, and the other one is not.
            "rollout": {"percent": 75, "by": "workload"},
            "fall_back": {"denials": 0, "decisions": 1, "window": "1h"},
        }
    }
)


def ask(stack: Stack, name: str, target: str) -> Reply:
    """A request of a workload."""
    return http1(stack.identities.caller(name), stack.port, Ask(target=target))


def user(reply: Reply) -> str | None:
    """What the upstream was told."""
    assert reply.status == 200
    return dict(reply.json()["headers"]).get("x-user")


def record_of(stack: Stack, reply: Reply) -> Line:
    """The record of what was answered."""
    if reply.status == 200:
        return stack.record(request_id=dict(reply.json()["headers"])["x-request-id"])
    return stack.record(decision_id=reply.decision_id)


def test_a_candidate_is_judged_rolled_out_and_falls_back(stack: Stack) -> None:
    """It closes `/stock` and opens `/returns`; the upstream hears whoever decides, and clients get the policies in
    force again as soon as one of them was denied what they allow."""
    assert (user(ask(stack, "web", "/orders")), user(ask(stack, "batch", "/orders"))) == ("now", "now")
    write_policies(stack.directory / "candidate", {"orders.yaml": SERVICE % ("next", "/orders, /returns", "next")})
    wait_until(lambda: user(ask(stack, "batch", "/orders")) == "next", EVENT_TIMEOUT_S, "the roll-out")
    outside, inside = [record_of(stack, ask(stack, name, "/orders")) for name in ("web", "batch")]
    assert (outside["workload"], outside["rule"], outside["policies"]) == (WEB, "orders/now", None)
    assert (inside["workload"], inside["rule"], inside["policies"]) == (BATCH, "orders/next", "candidate")
    assert (outside["compared"]["rule"], inside["compared"]["rule"]) == ("orders/next", "orders/now")
    assert outside["compared"]["revision"] == inside["revision"]
    assert inside["compared"]["revision"] == outside["revision"]
    closed = ask(stack, "web", "/returns")
    assert closed.reason == "no_rule_allows"
    assert record_of(stack, closed)["compared"]["decision"] == "allow"
    assert user(ask(stack, "batch", "/returns")) == "next"
    assert user(ask(stack, "web", "/stock")) == "now"
    assert "rollout_fell_back" not in stack.log(), "nobody in the share was denied anything"
    denied = ask(stack, "batch", "/stock")
    assert denied.reason == "no_rule_allows"
    assert record_of(stack, denied)["compared"]["decision"] == "allow"
    wait_until(lambda: ask(stack, "batch", "/stock").status == 200, EVENT_TIMEOUT_S, "the policies in force")
    assert stack.metric("authz_candidate_fall_backs_total") == 1
    assert stack.metric("authz_candidate_decisions_total", decided_by="candidate", outcome="opened") == 1
    assert ask(stack, "batch", "/returns").reason == "no_rule_allows"
    assert stack.ready()
