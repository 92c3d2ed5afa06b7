"""Who acts on behalf of a user."""

import json
from typing import Any

import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.actor import actor_of
from authz_server.identity.cache import BoundedCache
from authz_server.identity.keys import parse_jwks
from authz_server.identity.settings import IdentitySettings, Issuer
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.identity.user import UserVerifier
from authz_server.model import Actor
from tests.unit.identity.tokens import CORP, NOW, SigningKey, jwks

GATEWAY = "spiffe://shop.example/ns/front/sa/gateway"


@pytest.mark.parametrize(
    ("act", "actor"),
    [
        ({"sub": "batch"}, Actor("batch")),
        ({"sub": "batch", "iss": CORP, "client_id": "x"}, Actor("batch")),
        ({"sub": GATEWAY}, Actor(GATEWAY, parse_spiffe_id(GATEWAY))),
        ({"sub": GATEWAY, "iss": "https://spire.example"}, Actor(GATEWAY, parse_spiffe_id(GATEWAY))),
        ({"sub": "batch", "act": {"sub": GATEWAY, "act": {"sub": "first"}}}, Actor("batch")),
        ({"sub": "batch", "act": {"iss": "https://elsewhere.example", "sub": "first"}}, Actor("batch")),
        ({"sub": "batch", "act": {}}, Actor("batch")),
        ({"sub": "SPIFFE://shop.example/a"}, Actor("SPIFFE://shop.example/a")),
    ],
    ids=str,
)
def test_the_outermost_actor_counts(act: dict[str, Any], actor: Actor) -> None:
    """RFC 8693 section 4.1: those inside it acted before, and are no ground for decisions."""
    assert actor_of({"sub": "ann", "act": act}, CORP) == actor


def test_without_the_claim_nobody_acts() -> None:
    """A claim inside another is none."""
    assert (
        actor_of({"iss": CORP, "sub": "ann", "may_act": {"sub": "batch"}, "x": {"act": {"sub": "batch"}}}, CORP) is None
    )


@pytest.mark.parametrize(
    "act",
    [
        None,
        "batch",
        7,
        True,
        [],
        [{"sub": "batch"}],
        {},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": ["batch"]},
        {"sub": {"sub": "batch"}},
        {"Sub": "batch"},
        {"iss": CORP},
        {"act": {"sub": "batch"}},
        {"sub": "batch", "act": "first"},
        {"sub": "batch", "act": None},
        {"sub": "batch", "act": {"sub": "x", "act": []}},
        {"sub": "batch", "iss": "https://other.example/"},
        {"sub": "batch", "iss": None},
        {"sub": "batch", "iss": [CORP]},
        {"sub": "spiffe://"},
        {"sub": "spiffe://shop.example/"},
        {"sub": "spiffe://shop.example/a/../gateway"},
        {"sub": "spiffe://shop.example/*"},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused(es256: SigningKey, act: object) -> None:
    """Never as if nobody acted, which might be allowed more."""
    claims = {"iss": CORP, "aud": "shop", "sub": "ann", "exp": NOW + 60, "act": act}
    with pytest.raises(Refused) as refused:
        actor_of(claims, CORP)
    assert refused.value.reason is Reason.TOKEN_INVALID
    assert "batch" not in refused.value.detail
    keys = {"corp": parse_jwks(jwks(es256.jwk()))}
    settings = IdentitySettings(issuers=(Issuer("corp", CORP, ("shop",)),))
    users = UserVerifier(settings, keys, 1, BoundedCache(10, 100_000), b"k" * 32, lambda _: None)
    with pytest.raises(Refused) as refused:
        users.verify(
            es256.signed(json.dumps({"alg": "ES256", "kid": es256.kid}).encode(), json.dumps(claims).encode()), NOW
        )
    assert refused.value.reason is Reason.TOKEN_INVALID
