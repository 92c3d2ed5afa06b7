"""What an access token must say to be good for an issuer's audience, once its signature is known to be good."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from authz_server.errors import Reason, Refused
from authz_server.identity.settings import Issuer

MAX_SKEW_S = 60.0
MAX_TIME = 253_402_300_799.0
"""The last second of the year 9999."""

_NO_TYPE = "none"
_MEDIA_TYPE_PREFIX = "application/"
_ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash")


class Validity(NamedTuple):
    """When a token is good: `valid_from <= now < valid_until`, in seconds since the epoch, skew included."""

    valid_from: float
    valid_until: float
    expires: float
    """`exp` itself."""


def check_header(header: Mapping[str, Any], issuer: Issuer) -> None:
    """Check what the header says beyond algorithm and key. Raises Refused (`token_invalid`)."""
    # RFC 7515 section 4.1.11 and RFC 7797: no extension is supported, so none may be critical.
    for name in ("crit", "b64", "zip", "enc"):
        if name in header:
            raise _invalid(f"its header has `{name}`")
    token_type = header.get("typ")
    if "typ" in header and not isinstance(token_type, str):
        raise _invalid("its `typ` is not a text")
    accepted = {_canonical_type(name) for name in issuer.token_types}
    if token_type is None:
        if _NO_TYPE not in accepted:
            raise _invalid("it has no `typ`")
    elif _canonical_type(token_type) not in accepted - {_NO_TYPE}:
        raise _invalid("its `typ` is not one that the issuer's access tokens have")


def check_claims(claims: Mapping[str, Any], issuer: Issuer, now: float) -> Validity:
    """Check the claims against the issuer's settings and the time.

    Raises Refused: `token_expired` if nothing is wrong but the age, else `token_invalid`.
    """
    if claims.get("iss") != issuer.issuer:
        raise _invalid("its `iss` is not the issuer's")
    check_audience(claims.get("aud"), issuer)
    _check_kind(claims, issuer)
    validity = validity_of(claims, issuer)
    check_time(validity, now)
    return validity


def check_time(validity: Validity, now: float) -> None:
    """Raises Refused: `token_expired`, or `token_invalid` before its time."""
    if now < validity.valid_from:
        raise _invalid("it is not valid yet")
    if now >= validity.valid_until:
        raise Refused(Reason.TOKEN_EXPIRED, "the token has expired")


def _canonical_type(name: str) -> str:
    """`application/` may be left out (RFC 7515 section 4.1.9), and case does not matter."""
    return name.lower().removeprefix(_MEDIA_TYPE_PREFIX)


def check_audience(audience: object, issuer: Issuer) -> None:
    """RFC 7519 section 4.1.3: one text or a list of texts, compared exactly."""
    audiences = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(element, str) for element in audiences):
        raise _invalid("its `aud` is no text and no list of texts")
    if not any(element in issuer.audiences for element in audiences):
        raise _invalid("its `aud` is somebody else")


def _check_kind(claims: Mapping[str, Any], issuer: Issuer) -> None:
    """Refuse what issuers sign for other purposes than access."""
    if not issuer.accept_id_tokens:
        for name in _ID_TOKEN_CLAIMS:
            if name in claims:
                raise _invalid(f"it is an ID token: it has `{name}`")
    if isinstance(claims.get("events"), dict):
        raise _invalid("it is a security event, such as a logout token (RFC 8417): it has `events`")


def validity_of(claims: Mapping[str, Any], issuer: Issuer) -> Validity:
    """When the token is good by its own words. Raises Refused (`token_invalid`)."""
    expires = _time(claims, "exp")
    if expires is None:
        raise _invalid("it has no `exp`")
    issued_at = _time(claims, "iat")
    if issuer.max_lifetime_s is not None:
        if issued_at is None:
            raise _invalid("it has no `iat`, and its issuer has a `max_lifetime`")
        if expires - issued_at > issuer.max_lifetime_s:
            raise _invalid("it lives longer than the issuer's `max_lifetime`")
    begins = max(_time(claims, "nbf") or 0.0, issued_at or 0.0)
    return Validity(begins - issuer.skew_s, expires + issuer.skew_s, expires)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A time; None where the claim is absent."""
    if name not in claims:
        return None
    value = numeric_date(claims[name])
    if value is None:
        raise _invalid(f"its `{name}` is not a time")
    return value


def numeric_date(value: object) -> float | None:
    """A NumericDate (RFC 7519 section 2), in seconds since the epoch; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIME:
        return None
    return float(value)


def _invalid(fault: str) -> Refused:
    return Refused(Reason.TOKEN_INVALID, f"the token is not acceptable: {fault}")
