"""Tokens that are bound to a certificate, through a real Envoy."""

import base64
import hashlib
import ssl
from collections.abc import Iterator

import pytest

from tests.envoy.clients import Ask, http1
from tests.envoy.stack import Stack, Variant, running_stack

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - {id: users, effect: allow, from: [{users: any}]}
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
