"""Our own identity for the upstream: a short-lived JWT about one allowed request (RFC 7519)."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from authz_server.errors import Reason, Refused
from authz_server.identity.settings import UpstreamTokens
from authz_server.identity.signing_keys import ALGORITHM, SigningKey, key_for
from authz_server.model import UpstreamToken, User, Workload

TYPE = "authz+jwt"
"""Explicit (RFC 8725 section 3.11), so that it is not taken for another kind of JWT."""
MAX_BYTES = 16_384
"""As of any header of an answer."""
_SIGNATURE = ECDSA(SHA256())
_NUMBER_BYTES = 32

_json = msgspec.json.Encoder().encode


class UpstreamTokenSigner:
    """Signs with the keys of one snapshot."""

    def __init__(self, settings: UpstreamTokens, keys: Sequence[SigningKey]) -> None:
        """Raises ValueError where there is no key."""
        if not keys:
            raise ValueError("there are no keys for upstream tokens")
        self._settings = settings
        self._keys = tuple(keys)
        self._headers = {key.kid: _encoded({"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}) for key in keys}

    def sign(
        self,
        decision_id: str,
        service: str,
        workload: Workload | None,
        user: User | None,
        method: str,
        path: str,
        now: float,
    ) -> UpstreamToken:
        """The token about a request that is allowed; `path` is as sent, without the query.

        Raises Refused (`internal_error`) where it would be longer than a header may be.
        """
        claims: dict[str, Any] = {
            "iss": self._settings.issuer,
            "aud": service,
            "iat": int(now),
            "exp": int(now) + self._settings.lifetime_s,
            "jti": decision_id,
        }
        if workload is not None:
            claims["sub"] = claims["workload"] = workload.id.text
        if user is not None:
            # The same subject of two issuers is two users: no issuer's name has a slash.
            claims["sub"] = f"{user.issuer}/{user.subject}"
            claims["user"] = {"issuer": user.issuer, "subject": user.subject}
            if user.actor is not None:
                claims["actor"] = user.actor.subject
        claims["method"], claims["path"] = method, path
        token = self._signed(claims, now)
        if len(token) > MAX_BYTES:
            raise Refused(Reason.INTERNAL_ERROR, f"the upstream token would be longer than {MAX_BYTES:,} bytes")
        return UpstreamToken(self._settings.header, token)

    def _signed(self, claims: dict[str, Any], now: float) -> str:
        """The compact form (RFC 7515 section 7.1), signed as RFC 7518 section 3.4 says."""
        key = key_for(self._keys, now)
        signing_input = self._headers[key.kid] + b"." + _encoded(claims)
        r, s = decode_dss_signature(key.private.sign(signing_input, _SIGNATURE))
        signature = r.to_bytes(_NUMBER_BYTES, "big") + s.to_bytes(_NUMBER_BYTES, "big")
        return (signing_input + b"." + _base64url(signature)).decode("ascii")


def _encoded(part: dict[str, Any]) -> bytes:
    return _base64url(_json(part))


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
