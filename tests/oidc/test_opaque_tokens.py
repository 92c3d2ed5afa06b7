"""Opaque tokens of a certified OpenID provider, through a real Envoy."""

from collections.abc import Iterator

import pytest
from msgspec import Struct

from authz_server.dev.waiting import wait_until
from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.stack import EVENT_TIMEOUT_S, Stack, Variant, running_stack
from tests.oidc.oidc_provider import ASKS, AUDIENCE, JWT, OPAQUE, OidcProvider, oidc_provider

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - {id: readers, effect: allow, from: [{users: {issuer: provider, scopes: ["orders:read"]}}]}
    """,
}


class Setup(Struct, frozen=True, eq=False):
    """The provider, and the stack that asks it."""

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
        (directory / "secret").write_text(provider.secret)
        introspection = {
            "url": f"{provider.issuer}/token/introspection",
            "client_id": ASKS,
            "client_secret_file": "secret",
            "timeout": "2s",
            "max_age": "1s",
        }
        issuer = {"issuer": provider.issuer, "audiences": [AUDIENCE], "required": True, "introspection": introspection}
        with running_stack(directory, POLICIES, Variant(settings={"issuers": {"provider": issuer}})) as stack:
            yield Setup(provider, stack)


def test_a_token_is_good_until_it_is_revoked(setup: Setup) -> None:
    """At the provider; here it dies with the answer that was good for a second."""
    token = setup.provider.user_tokens("ann", OPAQUE)["access_token"]
    assert setup.ask(token).status == 200
    assert setup.stack.record(rule="orders/readers")["user"] == {"issuer": "provider", "subject": "ann"}
    setup.provider.revoke(token)
    wait_until(lambda: setup.ask(token).status == 401, EVENT_TIMEOUT_S, "the end of the revoked token")
    assert "its issuer says that it is not active" in setup.stack.record(reason="token_invalid")["detail"]


def test_signed_tokens_need_no_question(setup: Setup) -> None:
    """The same issuer's JWTs are verified with its keys."""
    before = setup.provider.asked("/token/introspection")
    assert setup.ask(setup.provider.client_token(JWT)).status == 200
    assert setup.provider.asked("/token/introspection") == before


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "its issuer says that it is not active"),
        ("not/quite%20a~token", "it has characters that no token has"),
    ],
)
def test_what_the_provider_does_not_know_is_refused(setup: Setup, token: str, detail: str) -> None:
    """Without a question where no issuer could have made it."""
    reply = setup.ask(token)
    assert (reply.status, reply.reason) == (401, "token_invalid")
    assert detail in setup.stack.record(decision_id=reply.decision_id)["detail"]


def test_a_token_without_a_subject_is_nobody_s(setup: Setup) -> None:
    """A client's own opaque token: the provider names no subject, and a client is not taken for a user of its name."""
    reply = setup.ask(setup.provider.client_token(OPAQUE))
    assert reply.reason == "token_invalid"
    assert "`sub`" in setup.stack.record(decision_id=reply.decision_id)["detail"]
