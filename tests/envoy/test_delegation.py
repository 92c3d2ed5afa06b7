"""Services that act on behalf of users, through a real Envoy."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.identities import BATCH, WEB
from tests.envoy.stack import Stack, Variant, running_stack

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: acting
            effect: allow
            from: [{users: {issuer: corp, actors: ["spiffe://shop.example/ns/front/**", agent]}}]
            to: [{paths: [/]}]
          - id: the-workload
            effect: allow
            from: [{users: any}]
            to: [{paths: [/own]}]
            when: user.actor == workload.id
            answer: {set_headers: {x-actor: user.actor}}
    """,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with these policies."""
    with running_stack(tmp_path_factory.mktemp("delegation"), POLICIES, Variant()) as running:
        yield running


def ask(stack: Stack, target: str, **claims: Any) -> Reply:
    """The answer to the web front with a token of these claims."""
    headers = [("authorization", f"Bearer {stack.token('ann', **claims)}")]
    return http1(stack.identities.caller("web"), stack.port, Ask(target=target, headers=headers))


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ({"sub": WEB}, None),
        ({"sub": "agent"}, None),
        ({"sub": "agent", "act": {"sub": BATCH}}, None),
        ({"sub": BATCH}, "no_rule_allows"),
        ({"sub": BATCH, "act": {"sub": WEB}}, "no_rule_allows"),
        ({"sub": "Agent"}, "no_rule_allows"),
        ({"sub": "agent", "iss": "https://other.example/"}, "token_invalid"),
        ({"act": {"sub": WEB}}, "token_invalid"),
        ("agent", "token_invalid"),
        ([{"sub": WEB}], "token_invalid"),
    ],
    ids=str,
)
def test_the_current_actor_decides_and_is_on_record(stack: Stack, act: object, reason: str | None) -> None:
    """Of several the outermost; a claim that cannot be read is a bad token."""
    reply = ask(stack, "/", act=act)
    assert (reply.status == 200, reply.reason) == (reason is None, reason)
    if isinstance(act, dict) and reason is None:
        assert stack.record(rule="orders/acting", actor=act["sub"])["user"] == {"issuer": "corp", "subject": "ann"}
    if reason == "no_rule_allows" and isinstance(act, dict):
        assert stack.record(decision_id=reply.decision_id)["actor"] == act["sub"]


def test_without_an_actor_the_user_comes_alone(stack: Stack) -> None:
    """Who asks for actors does not mean users themselves."""
    reply = ask(stack, "/")
    assert reply.reason == "no_rule_allows"
    assert stack.record(decision_id=reply.decision_id)["actor"] is None


def test_a_condition_can_ask_for_the_caller_itself(stack: Stack) -> None:
    """A token that another service was given is worth nothing here; the upstream learns who acts."""
    good = ask(stack, "/own", act={"sub": WEB})
    assert good.status == 200
    assert good.json()["headers"]["x-actor"] == WEB
    for claims in ({"act": {"sub": BATCH}}, {"act": {"sub": BATCH, "act": {"sub": WEB}}}, {}):
        assert ask(stack, "/own", **claims).reason == "no_rule_allows"
