"""The keys that upstream tokens are signed with: a JWK Set with their private halves, and when each begins to sign."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from jwt.algorithms import ECAlgorithm
from jwt.exceptions import InvalidKeyError
from jwt.utils import base64url_encode
from msgspec import Struct

from authz_server.identity.strict_json import read_object

ALGORITHM = "ES256"
SIGNS_FROM = "signs_from"
"""Our own member of a JWK: seconds since the epoch."""
NO_SIGNING_KEYS = b'{"keys": []}'
MAX_SIGNING_KEYS = 50


class InvalidSigningKeys(ValueError):
    """A document that nothing can be signed with; the words hold nothing of it."""


class SigningKey(Struct, frozen=True, eq=False):
    """A private key of P-256, and the moment from which it signs in place of those before it."""

    kid: str
    signs_from: float
    """Seconds since the epoch."""
    private: EllipticCurvePrivateKey


class Rotation(Struct, frozen=True):
    """How long keys sign, and how long they stay known, in seconds."""

    rotate_s: float
    """Each key signs for so long, and is published for so long before."""
    keep_s: float
    """Published for so long after: what they signed lives on, and so do copies of the key set."""


def parse_signing_keys(document: bytes) -> tuple[SigningKey, ...]:
    """Read a JWK Set of private keys (RFC 7517, RFC 7518 section 6.2.2). Raises InvalidSigningKeys."""
    try:
        keys = read_object(document).get("keys")
    except ValueError as error:
        raise InvalidSigningKeys(f"it is {error}") from None
    if not isinstance(keys, list) or len(keys) > MAX_SIGNING_KEYS:
        raise InvalidSigningKeys(f"it is no JWK Set of at most {MAX_SIGNING_KEYS} keys")
    read = tuple([_signing_key(number, key) for number, key in enumerate(keys, start=1)])
    if len({key.kid for key in read}) != len(read):
        raise InvalidSigningKeys("two of its keys have one `kid`")
    return read


def private_document(keys: Sequence[SigningKey]) -> bytes:
    """The JWK Set that `parse_signing_keys` reads. Secret."""
    jwks = [{**_jwk(key, ECAlgorithm.to_jwk(key.private, as_dict=True)), SIGNS_FROM: key.signs_from} for key in keys]
    return msgspec.json.encode({"keys": jwks})


def public_document(keys: Sequence[SigningKey]) -> bytes:
    """The JWK Set with which others verify."""
    jwks = [_jwk(key, ECAlgorithm.to_jwk(key.private.public_key(), as_dict=True)) for key in keys]
    return msgspec.json.encode({"keys": jwks})


def key_for(keys: Sequence[SigningKey], now: float) -> SigningKey:
    """The key that signs at `now`: the latest to have begun, of several the first. `keys` is not empty."""
    begun = [key for key in keys if key.signs_from <= now]
    return max(begun, key=lambda key: key.signs_from) if begun else keys[0]


def rotated(keys: Sequence[SigningKey], now: float, rotation: Rotation) -> tuple[SigningKey, ...]:
    """The keys as they should be now: one that signs, the next one, and those whose tokens may still be about.

    The very same keys where nothing is due. Where there are none, the first one signs at once.
    """
    # A clock that was wrong, or a longer interval, must not put off the next change for ever.
    latest = now + rotation.rotate_s
    kept = [key if key.signs_from <= latest else msgspec.structs.replace(key, signs_from=latest) for key in keys]
    if not kept:
        kept = [_create(now)]
    if kept[-1].signs_from <= now:
        kept.append(_create(latest))
    ended = {one.kid for one, successor in pairwise(kept) if successor.signs_from + rotation.keep_s <= now}
    return tuple([key for key in kept if key.kid not in ended])


def _create(signs_from: float) -> SigningKey:
    private = generate_private_key(SECP256R1())
    return SigningKey(_thumbprint(private), signs_from, private)


def _signing_key(number: int, key: object) -> SigningKey:
    if not isinstance(key, dict) or key.get("kty") != "EC" or key.get("crv") != "P-256" or "d" not in key:
        raise InvalidSigningKeys(f"key {number} is no private key of the curve P-256")
    if key.get("alg", ALGORITHM) != ALGORITHM or key.get("use", "sig") != "sig":
        raise InvalidSigningKeys(f"key {number} is not for signatures with {ALGORITHM}")
    signs_from = key.get(SIGNS_FROM, 0)
    if isinstance(signs_from, bool) or not isinstance(signs_from, int | float):
        raise InvalidSigningKeys(f"`{SIGNS_FROM}` of key {number} is no number of seconds since 1970")
    try:
        private = ECAlgorithm.from_jwk(key)
    except (InvalidKeyError, ValueError, TypeError):
        private = None
    if not isinstance(private, EllipticCurvePrivateKey):
        raise InvalidSigningKeys(f"the numbers of key {number} do not belong together")
    kid = key.get("kid", _thumbprint(private))
    if not isinstance(kid, str) or not 0 < len(kid) <= 128:
        raise InvalidSigningKeys(f"`kid` of key {number} is no text of 1 to 128 characters")
    return SigningKey(kid, signs_from, private)


def _jwk(key: SigningKey, material: dict[str, Any]) -> dict[str, Any]:
    material.pop("key_ops", None)
    return {**material, "kid": key.kid, "use": "sig", "alg": ALGORITHM}


def _thumbprint(private: EllipticCurvePrivateKey) -> str:
    """RFC 7638 section 3."""
    public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    required = {name: public[name] for name in ("crv", "kty", "x", "y")}
    return base64url_encode(sha256(msgspec.json.encode(required)).digest()).decode("ascii")
