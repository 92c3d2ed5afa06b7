"""Who calls: a workload with a certificate, and users with tokens. Made anew for each run."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from msgspec import Struct

from authz_server.dev.ca import create_ca

TRUST_DOMAIN = "shop.example"
ISSUER = "https://login.shop.example/"
AUDIENCE = "shop"
SCOPE = "orders:read"
CUSTOMER = "c7"

_LIFETIME = timedelta(hours=6)
_KEY_ID = "2026-03"
_HEADER = {"kid": _KEY_ID, "typ": "at+jwt"}


class Identities(Struct, frozen=True):
    """The identities of a workload and of users who call through it, and what the server needs to verify them."""

    spiffe_id: str
    certificate: str
    """The leaf as Envoy sends it: PEM, URL-encoded."""
    bundle_pem: str
    tokens: tuple[str, ...]
    """RS256, as most issuers sign; each is another user's."""
    jwks: str


def create_identities(spiffe_id: str, users: int = 1) -> Identities:
    """A certificate of the trust domain for this ID, and a token for each of so many users."""
    ca = create_ca(TRUST_DOMAIN)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": _KEY_ID, "alg": "RS256", "use": "sig"}
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + _LIFETIME,
        "client_id": "web",
        "scope": f"openid profile {SCOPE} orders:write",
        "groups": ["staff", "support"],
        "customer": CUSTOMER,
    }
    return Identities(
        spiffe_id=spiffe_id,
        certificate=quote(ca.issue(spiffe_id, lifetime=_LIFETIME).certificate_pem, safe=""),
        bundle_pem=ca.bundle_pem,
        tokens=tuple(jwt.encode(claims | _user(number), key, "RS256", headers=_HEADER) for number in range(users)),
        jwks=json.dumps({"keys": [jwk]}),
    )


def _user(number: int) -> dict[str, str]:
    return {"sub": f"2482897{number:05}", "jti": f"c9b4f6a1-7f7b-4a0e-9a44-9d5c5e3{number:05}"}
