"""Tokens that a certified OpenID provider binds to a client's key, through a real Envoy."""

import time
from collections.abc import Iterator

import pytest
from msgspec import Struct

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant, running_stack
from tests.oidc.oidc_provider import ASKS, AUDIENCE, JWT, OPAQUE, OidcProvider, oidc_provider
from tests.unit.identity.proofs import proof, proof_key
from tests.unit.identity.tokens import SigningKey

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: readers
            effect: allow
            from: [{users: {issuer: provider, scopes: ["orders:read"]}}]
            requires: {bound_token: true}
    """,
}


class Setup(Struct, frozen=True, eq=False):
    """The provider, the stack that takes its tokens, and the key of a client."""

    provider: OidcProvider
    stack: Stack
    key: SigningKey

    def bound_token(self, resource: str) -> str:
        """An access token of `ann` that the provider has bound to the key."""
        # The hash of an access token is nothing to the provider: there is none yet.
        for_provider = proof(self.key, "", htm="POST", htu=self.provider.token_url, ath=None, **_fresh())
        tokens = self.provider.user_tokens("ann", resource, proof=for_provider)
        assert tokens["token_type"] == "DPoP"
        return str(tokens["access_token"])

    def ask(self, token: str, shown: str, scheme: str = "DPoP") -> Reply:
        """A request with this token and this proof."""
        ask = Ask(headers=[("authorization", f"{scheme} {token}"), ("dpop", shown)])
        return http1(self.stack.identities.caller("web"), self.stack.port, ask)

    def proof(self, token: str, key: SigningKey | None = None) -> str:
        """A fresh proof for that request."""
        return proof(key or self.key, token, htu="https://orders.shop.example/", **_fresh())


def _fresh() -> dict[str, object]:
    return {"iat": time.time(), "jti": str(time.time_ns())}


@pytest.fixture(scope="module", name="setup")
def _setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    directory = tmp_path_factory.mktemp("oidc")
    with oidc_provider(directory) as provider:
        (directory / "secret").write_text(provider.secret)
        introspection = {
            "url": f"{provider.issuer}/token/introspection",
            "client_id": ASKS,
            "client_secret_file": "secret",
            "timeout": "2s",
        }
        issuer = {"issuer": provider.issuer, "audiences": [AUDIENCE], "required": True, "introspection": introspection}
        settings = {"issuers": {"provider": issuer}, "dpop": {"skew": "0s"}}
        with running_stack(directory, POLICIES, Variant(settings=settings)) as stack:
            setup = Setup(provider, stack, proof_key())
            token = setup.bound_token(JWT)
            # The table of proofs is as young as the stack.
            wait_until(lambda: setup.ask(token, setup.proof(token)).status == 200, EVENT_TIMEOUT_S, "proofs to be good")
            yield setup


@pytest.mark.parametrize("resource", [JWT, OPAQUE])
def test_a_bound_token_is_good_with_proofs_of_its_key(setup: Setup, resource: str) -> None:
    """As a JWT, and as an opaque token that the provider says to be bound: a fresh proof each time."""
    token = setup.bound_token(resource)
    used = setup.proof(token)
    assert setup.ask(token, used).status == 200
    assert setup.ask(token, setup.proof(token)).status == 200
    assert setup.stack.record(rule="orders/readers")["user"] == {"issuer": "provider", "subject": "ann"}
    assert setup.ask(token, used).reason == "proof_invalid"


@pytest.mark.parametrize("resource", [JWT, OPAQUE])
def test_a_bound_token_is_worth_nothing_without_them(setup: Setup, resource: str) -> None:
    """As a bearer token, or with proofs of another key."""
    token = setup.bound_token(resource)
    assert setup.ask(token, setup.proof(token), "Bearer").reason == "token_invalid"
    assert setup.ask(token, setup.proof(token, proof_key())).reason == "token_invalid"


def test_a_token_that_is_not_bound_is_no_better_for_a_proof(setup: Setup) -> None:
    """The provider binds where the client shows a proof, and there alone."""
    token = setup.provider.user_tokens("ann", JWT)["access_token"]
    assert setup.ask(token, setup.proof(token)).reason == "token_invalid"
    assert setup.ask(token, setup.proof(token), "Bearer").reason == "step_up_required"
