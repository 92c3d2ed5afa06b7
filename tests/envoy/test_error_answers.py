"""Failures of ours as errors to a real Envoy, where the operator prefers that to a denial: it may let them pass."""

from collections.abc import Iterator

import pytest

from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.stack import Stack, Variant, running_stack

HEADER = "x-authz-token"
POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - {id: all, effect: allow, from: anyone, to: [{paths: ["/orders/**"]}]}
          - {id: closed, effect: deny, to: [{paths: [/orders/closed]}]}
    """,
}
SETTINGS = {"upstream_token": {"issuer": "https://authz.shop.example"}, "answers": {"failures": "error"}}
FAILING = Ask(target="/orders/" + "a" * 16_384)
"""No header could hold the token about it, which is a failure of ours."""


@pytest.fixture(scope="module", name="strict")
def _strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("strict"), POLICIES, Variant(SETTINGS)) as running:
        yield running


@pytest.fixture(scope="module", name="lenient")
def _lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    variant = Variant(SETTINGS, envoy={"failure_mode_allow: false": "failure_mode_allow: true"})
    with running_stack(tmp_path_factory.mktemp("lenient"), POLICIES, variant) as running:
        yield running


def ask(stack: Stack, what: Ask) -> Reply:
    """The answer to the web front."""
    return http1(stack.identities.caller("web"), stack.port, what)


def test_the_client_reads_of_an_error_what_it_reads_of_a_denial(strict: Stack) -> None:
    """Status, headers and body are ours, and the record is that of a denial."""
    assert ask(strict, Ask(target="/orders/7")).status == 200
    reply = ask(strict, FAILING)
    assert (reply.status, reply.reason) == (500, "internal_error")
    assert reply.headers["content-type"] == "application/problem+json"
    record = strict.record(decision_id=reply.decision_id)
    assert (record["decision"], record["reason"]) == ("deny", "internal_error")
    assert strict.access(decision_id=reply.decision_id)["details"] == "ext_authz_error"


@pytest.mark.parametrize("target", ["/orders/closed", "/other", "/orders/7;a=b"])
def test_a_denial_stays_a_denial(strict: Stack, lenient: Stack, target: str) -> None:
    """What a policy or a credential denies is denied whatever Envoy does about errors."""
    for stack in (strict, lenient):
        reply = ask(stack, Ask(target=target))
        assert reply.status in (400, 403)
        assert reply.reason != "internal_error"
        bad_token = Ask(target="/orders/7", headers=[("authorization", "Bearer a.b.c")])
        assert ask(stack, bad_token).reason == "token_invalid"


def test_with_failure_mode_allow_an_error_passes(lenient: Stack) -> None:
    """The operator asked for that twice. Nothing of the request is changed, so the client's own word arrives."""
    reply = ask(lenient, Ask(target=FAILING.target, headers=[(HEADER, "forged")]))
    assert (reply.status, reply.json()["headers"][HEADER]) == (200, "forged")
