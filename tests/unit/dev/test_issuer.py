"""The development issuer signs tokens that its published keys verify."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import jwt
import pytest

from authz_server.dev.issuer import DevelopmentIssuer, create_issuer, issuer_app, load_issuer
from authz_server.dev.serving import serving

ISSUER, AUDIENCE = "https://login.shop.example/", "shop"
CLAIMS = {"sub": "ann", "scope": "orders:read"}


def verified(token: str, issuer: DevelopmentIssuer) -> dict[str, object]:
    """The claims, if the issuer's published key verifies them."""
    [key] = jwt.PyJWKSet.from_dict(issuer.jwks()).keys
    return jwt.decode(token, key, ["ES256"], audience=AUDIENCE, issuer=ISSUER)


def test_a_token_says_what_was_asked() -> None:
    """Claims, times, key and type are all there."""
    issuer = create_issuer()
    issued = datetime.now(UTC)
    token = issuer.token(ISSUER, AUDIENCE, CLAIMS, timedelta(minutes=5), issued)
    start = int(issued.timestamp())
    assert verified(token, issuer) == {"iss": ISSUER, "aud": AUDIENCE, "iat": start, "exp": start + 300, **CLAIMS}
    [key] = issuer.jwks()["keys"]
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": key["kid"], "typ": "at+jwt"}


def test_an_old_token_has_expired() -> None:
    """A token that was issued longer ago than it lives is of no use."""
    issuer = create_issuer()
    token = issuer.token(ISSUER, AUDIENCE, CLAIMS, timedelta(minutes=5), datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(jwt.ExpiredSignatureError):
        verified(token, issuer)


def test_the_published_keys_hold_nothing_private() -> None:
    """Only what verifies is published (RFC 7518 section 6.2.1)."""
    [key] = create_issuer().jwks()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_another_issuers_token_is_not_verified() -> None:
    """Each issuer has a key of its own."""
    token = create_issuer().token(ISSUER, AUDIENCE, CLAIMS, timedelta(minutes=5))
    with pytest.raises(jwt.InvalidSignatureError):
        verified(token, create_issuer())


def test_a_written_key_is_read_back(tmp_path: Path) -> None:
    """The same key signs on, and is for its owner alone."""
    issuer = create_issuer()
    issuer.write(tmp_path / "issuer.key")
    assert load_issuer(tmp_path / "issuer.key").jwks() == issuer.jwks()
    assert stat.S_IMODE((tmp_path / "issuer.key").stat().st_mode) == 0o600


def test_keys_are_served() -> None:
    """The JWKS can be fetched."""
    issuer = create_issuer()
    with serving(issuer_app(issuer)) as port:
        answer = httpx2.get(f"http://127.0.0.1:{port}/jwks.json", trust_env=False)
    assert answer.json() == issuer.jwks()
