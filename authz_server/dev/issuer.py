"""A token issuer for development only: it signs whatever it is asked to, so nobody else may trust it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm
from jwt.utils import base64url_encode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from authz_server.dev.files import write_secret

ALGORITHM = "ES256"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - a media type (RFC 9068 section 2.1)
JWKS_PATH = "/jwks.json"


class DevelopmentIssuer:
    """Signs access tokens (RFC 9068) with a key that lies in a file."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._jwk = {**public, "kid": _thumbprint(public), "use": "sig", "alg": ALGORITHM}

    @property
    def kid(self) -> str:
        """The name of the key."""
        return str(self._jwk["kid"])

    def jwks(self) -> dict[str, Any]:
        """The public key as a JWK set (RFC 7517 section 5)."""
        return {"keys": [self._jwk]}

    def token(
        self, issuer: str, audience: str, claims: Mapping[str, Any], lifetime: timedelta, issued: datetime | None = None
    ) -> str:
        """Sign a token that was issued at `issued`, now by default."""
        start = int((issued or datetime.now(UTC)).timestamp())
        expires = start + int(lifetime.total_seconds())
        payload = {"iss": issuer, "aud": audience, "iat": start, "exp": expires, **claims}
        return jwt.encode(payload, self._key, ALGORITHM, headers={"kid": self._jwk["kid"], "typ": TOKEN_TYPE})

    def write(self, path: Path) -> None:
        """Write the private key, for the owner's eyes only."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_secret(path, pem.decode("ascii"))


def create_issuer() -> DevelopmentIssuer:
    """Make an issuer with a key of its own."""
    return DevelopmentIssuer(ec.generate_private_key(ec.SECP256R1()))


def load_issuer(path: Path) -> DevelopmentIssuer:
    """Read what `DevelopmentIssuer.write` wrote. Raises FileNotFoundError, and ValueError where it is no such key."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path}: not a key that `authz dev keys` made")
    return DevelopmentIssuer(key)


def issuer_app(issuer: DevelopmentIssuer) -> Starlette:
    """The issuer's public face: its keys at `/jwks.json`."""

    async def keys(_request: Request) -> JSONResponse:
        return JSONResponse(issuer.jwks(), headers={"cache-control": "max-age=60"})

    return Starlette(routes=[Route(JWKS_PATH, keys)])


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    """The key's thumbprint (RFC 7638 section 3), which is a good `kid`."""
    required = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    return base64url_encode(sha256(msgspec.json.encode(required)).digest()).decode("ascii")
