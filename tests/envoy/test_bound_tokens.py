"""Tokens that are bound to a certificate, through a real Envoy."""

import base64
import hashlib
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.envoy.clients import Ask, http1
from tests.envoy.stack import Stack, Variant, running_stack

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - {id: users, effect: allow, from: [{users: any}], to: [{paths: [/]}]}
          - id: with-care
            effect: allow
            from: [{users: any}]
            to: [{paths: [/refunds]}]
            requires: {acr: [mfa, hwk], max_auth_age: 15m, bound_token: true}
    """,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with these policies."""
    with running_stack(tmp_path_factory.mktemp("bound"), POLICIES, Variant()) as running:
        yield running


def digest_of(stack: Stack, name: str) -> str:
    """`x5t#S256` of somebody's certificate."""
    pem = (stack.identities.directory / f"{name}.pem").read_text().split("-----END CERTIFICATE-----")[0]
    der = ssl.PEM_cert_to_DER_cert(f"{pem}-----END CERTIFICATE-----\n")
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


@pytest.mark.parametrize(("caller", "status"), [("web", 200), ("batch", 401), (None, 401)])
def test_a_bound_token_needs_its_certificate(stack: Stack, caller: str | None, status: int) -> None:
    """A stolen token is worth nothing to another workload, and nothing without a certificate."""
    token = stack.token("ann", cnf={"x5t#S256": digest_of(stack, "web")})
    ask = Ask(headers=[("authorization", f"Bearer {token}")])
    reply = http1(stack.identities.caller(caller), stack.port, ask)
    assert reply.status == status
    if status == 401:
        assert reply.reason == "token_invalid"


def test_who_lacks_only_strength_is_told_how_to_step_up(stack: Stack) -> None:
    """RFC 9470 section 3: the challenge has what the rule requires; a token that has it all passes."""
    web, now = stack.identities.caller("web"), int(time.time())
    strong: dict[str, Any] = {"acr": "hwk", "auth_time": now - 60, "cnf": {"x5t#S256": digest_of(stack, "web")}}
    for name in strong:
        claims = {other: value for other, value in strong.items() if other != name}
        ask = Ask(target="/refunds", headers=[("authorization", f"Bearer {stack.token('ann', **claims)}")])
        reply = http1(web, stack.port, ask)
        assert (reply.status, reply.reason) == (401, "step_up_required")
        challenge = reply.headers["www-authenticate"]
        assert challenge.startswith('Bearer error="insufficient_user_authentication", ')
        assert challenge.endswith('acr_values="mfa hwk", max_age="900"')
        assert stack.record(decision_id=reply.decision_id)["rule"] == "orders/with-care"
    good = Ask(target="/refunds", headers=[("authorization", f"Bearer {stack.token('ann', **strong)}")])
    assert http1(web, stack.port, good).status == 200
    assert http1(web, stack.port, Ask(target="/refunds")).reason == "unauthenticated"
