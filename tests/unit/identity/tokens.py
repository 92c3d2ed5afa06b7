"""Tokens for tests: right ones, and wrong ones of every kind."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from authz_server.identity.algorithms import ALGORITHMS

NOW = 1_772_442_000.0
CORP = "https://login.shop.example/"

CLAIMS: Mapping[str, Any] = {"iss": CORP, "aud": "shop", "sub": "zoe", "exp": NOW + 300, "iat": NOW - 60}


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encoded_json(value: object) -> str:
    """A value as JSON in base64url."""
    return encoded(json.dumps(value).encode())


@dataclass(frozen=True)
class SigningKey:
    """A private key, and what its tokens say about it."""

    private_key: Any = field(repr=False)
    algorithm: str
    kid: str | None

    def token(self, claims: Mapping[str, Any] = CLAIMS, header: Mapping[str, Any] | None = None, **more: object) -> str:
        """A signed token; `header` adds to the header and `more` to the claims, None takes away."""
        full_header = {"alg": self.algorithm, "kid": self.kid, **(header or {})}
        full_claims = {**claims, **more}
        return self.signed(
            json.dumps({name: value for name, value in full_header.items() if value is not None}).encode(),
            json.dumps({name: value for name, value in full_claims.items() if value is not None}).encode(),
        )

    def signed(self, header: bytes, payload: bytes) -> str:
        """A token of exactly these bytes."""
        signing_input = f"{encoded(header)}.{encoded(payload)}"
        signature = ALGORITHMS[self.algorithm].sign(signing_input.encode(), self.private_key)
        return f"{signing_input}.{encoded(signature)}"

    def jwk(self, **more: object) -> dict[str, Any]:
        """The public key as JWK; None takes a member away."""
        jwk = ALGORITHMS[self.algorithm].to_jwk(self.private_key.public_key(), as_dict=True)
        jwk.pop("key_ops", None)
        members = {**jwk, "kid": self.kid, "alg": self.algorithm, "use": "sig", **more}
        return {name: value for name, value in members.items() if value is not None}


def jwks(*keys: Mapping[str, Any]) -> bytes:
    """A JWK Set document."""
    return json.dumps({"keys": keys}).encode()
