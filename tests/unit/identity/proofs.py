"""DPoP proofs for tests: right ones, and wrong ones of every kind."""

import base64
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from authz_server.identity.keys import thumbprint
from tests.unit.identity.tokens import NOW, SigningKey

URI = "https://orders.shop.example/orders/1"


def proof_key() -> SigningKey:
    """A client's fresh key."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()), "ES256", None)


def bound_to(key: SigningKey) -> dict[str, str]:
    """The `cnf` of a token that is bound to this key."""
    return {"jkt": thumbprint(key.jwk())}


def claims_of_proof(token: str, **changes: object) -> dict[str, Any]:
    """The claims of a good proof for this token; None takes one away."""
    ath = base64.urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
    claims = {"jti": "e1j3V_bKic8-LAEB", "htm": "GET", "htu": URI, "iat": int(NOW), "ath": ath, **changes}
    return {name: value for name, value in claims.items() if value is not None}


def proof(key: SigningKey, token: str, header: Mapping[str, Any] | None = None, /, **changes: object) -> str:
    """A proof for a request with this token; `header` and `changes` add, None takes away."""
    public = key.jwk(alg=None, use=None)
    return key.token(claims_of_proof(token, **changes), {"typ": "dpop+jwt", "jwk": public, **(header or {})})
