"""Tokens that a certified OpenID provider signs, through a real Envoy: what we verify is what others issue."""

from collections.abc import Iterator

import pytest
from msgspec import Struct

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.stack import Stack, Variant, running_stack
from tests.oidc.oidc_provider import AUDIENCE, JWT, OPAQUE, OidcProvider, oidc_provider

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: readers
            effect: allow
            from: [{users: {issuer: provider, scopes: ["orders:read"]}}]
            to: [{methods: [GET]}]
    """,
}
ROTATION_S = 60.0
"""Unknown keys cause a fetch at most every 30 seconds."""


class Setup(Struct, frozen=True, eq=False):
    """The provider, and the stack that takes its tokens."""

    provider: OidcProvider
    stack: Stack

    def ask(self, token: str) -> Reply:
        """A request with this token."""
        ask = Ask(headers=[("authorization", f"Bearer {token}")])
        return http1(self.stack.identities.caller("web"), self.stack.port, ask)


@pytest.fixture(scope="module", name="setup")
def _setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    directory = tmp_path_factory.mktemp("oidc")
    with oidc_provider(directory) as provider:
        # Also for the client's own name: an ID token must be refused for what it is, not for whom.
        issuer = {"issuer": provider.issuer, "audiences": [AUDIENCE, "app"], "required": True}
        with running_stack(directory, POLICIES, Variant(settings={"issuers": {"provider": issuer}})) as stack:
            yield Setup(provider, stack)


def test_a_client_s_token_is_taken(setup: Setup) -> None:
    """`at+jwt` (RFC 9068), with keys found by discovery at the exact `issuer`."""
    reply = setup.ask(setup.provider.client_token(JWT))
    assert reply.status == 200
    record = setup.stack.record(rule="orders/readers")
    assert record["user"] == {"issuer": "provider", "subject": "batch"}


def test_a_user_s_token_is_taken(setup: Setup) -> None:
    """From a login with an authorization code; the subject is who has logged in."""
    assert setup.ask(setup.provider.user_tokens("ann", JWT)["access_token"]).status == 200
    assert setup.stack.record(user={"issuer": "provider", "subject": "ann"})["reason"] == "allowed"


def test_scopes_are_the_provider_s(setup: Setup) -> None:
    """Who was granted another scope only is no reader."""
    reply = setup.ask(setup.provider.client_token(JWT, "orders:write"))
    assert (reply.status, reply.reason) == (403, "no_rule_allows")


@pytest.mark.parametrize(
    ("kind", "detail"),
    [("id_token", "the token is not acceptable: it is an ID token: it has `at_hash`"), ("access_token", "base64url")],
)
def test_what_is_no_signed_access_token_is_refused(setup: Setup, kind: str, detail: str) -> None:
    """An ID token, though its signature, issuer and audience are right; and a token that is no JWT."""
    reply = setup.ask(setup.provider.user_tokens("ann", OPAQUE)[kind])
    assert (reply.status, reply.reason) == (401, "token_invalid")
    assert detail in setup.stack.record(decision_id=reply.decision_id)["detail"]


def test_a_new_key_is_fetched_once(setup: Setup) -> None:
    """The provider signs with a key that it did not have: one fetch later its tokens are good, and so are the old."""
    old, fetches = setup.provider.client_token(JWT), setup.provider.asked("/jwks")
    setup.provider.rotate()
    token = setup.provider.client_token(JWT)
    assert setup.ask(token).reason == "token_invalid"
    wait_until(lambda: setup.ask(token).status == 200, ROTATION_S, "the new key")
    assert setup.provider.asked("/jwks") == fetches + 1
    assert setup.ask(old).status == 200
