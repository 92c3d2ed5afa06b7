"""The public keys of an issuer, read from a JWK Set (RFC 7517)."""

import base64
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.exceptions import InvalidKeyError
from msgspec import Struct

from authz_server.identity.algorithms import ALGORITHMS, algorithms_of
from authz_server.identity.strict_json import read_object

MAX_DOCUMENT_BYTES = 1024 * 1024
MAX_KEYS = 100
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
MAX_RSA_EXPONENT_BITS = 32

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MATERIAL = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class InvalidKeySet(ValueError):
    """A document that is not a JWK Set, or is larger than one can be."""


class Key(Struct, frozen=True):
    """A public key and the algorithms that it may be used with."""

    kid: str | None
    algorithms: frozenset[str]
    public_key: PublicKey

    def verifies(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature was made with this key by this algorithm; one that is not the key's never fits."""
        return algorithm in self.algorithms and ALGORITHMS[algorithm].verify(signing_input, self.public_key, signature)


class KeySet(Struct, frozen=True):
    """The usable keys of an issuer, and what was said about those that are not."""

    keys: tuple[Key, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether there is anything to verify with."""
        return bool(self.keys)

    def has(self, kid: str) -> bool:
        """Whether there is a key of this name."""
        return any(key.kid == kid for key in self.keys)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key of this name that serves the algorithm; without a name, the only key that does."""
        fitting = [key for key in self.keys if algorithm in key.algorithms and kid in (None, key.kid)]
        return fitting[0] if len(fitting) == 1 else None


def parse_jwks(document: bytes) -> KeySet:
    """Read a JWK Set; keys that cannot be used are left out with a warning each. Raises InvalidKeySet."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise InvalidKeySet(f"the key set is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        entries = read_object(document).get("keys")
    except ValueError as error:
        raise InvalidKeySet(f"the key set cannot be read: {error}") from error
    if not isinstance(entries, list):
        raise InvalidKeySet("the key set has no list `keys`")
    if len(entries) > MAX_KEYS:
        raise InvalidKeySet(f"the key set has more than {MAX_KEYS} keys")
    return usable_keys(entries)


def usable_keys(entries: Sequence[object], use: str = "sig") -> KeySet:
    """The keys among the members of a JWK Set; `use` is what they must be for (RFC 7517 section 4.2)."""
    keys: list[Key] = []
    warnings: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            keys.append(public_key(entry, use))
        except ValueError as error:
            warnings.append(f"key {number} is left out: {error}")
    names = [key.kid for key in keys if key.kid is not None]
    repeated = sorted({name for name in names if names.count(name) > 1})
    warnings.extend([f"all keys named {name!a:.80} are left out: the name stands for several" for name in repeated])
    return KeySet(tuple([key for key in keys if key.kid not in repeated]), tuple(warnings))


def public_key(entry: object, use: str = "sig") -> Key:
    """The key that a JWK describes. Raises ValueError, saying why it cannot be used."""
    if not isinstance(entry, dict):
        raise ValueError("it is not a JSON object")
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        raise ValueError("it is private or symmetric, and no longer a secret")
    if entry.get("use", use) != use or not _may_verify(entry.get("key_ops", ["verify"])):
        raise ValueError("it is not for signatures (`use`, `key_ops`)")
    kid = entry.get("kid")
    if kid is not None and (not isinstance(kid, str) or not kid):
        raise ValueError("its `kid` is not a text")
    algorithms = _algorithms(entry)
    return Key(kid, algorithms, _public_key(entry, algorithms))


def thumbprint(entry: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a public JWK (RFC 7638), base64url. Raises ValueError for what is no key of ours."""
    key_type, curve = entry.get("kty"), entry.get("crv")
    if not isinstance(key_type, str) or key_type not in _MATERIAL:
        raise ValueError("its `kty` is not one that is supported")
    members = {"kty": key_type, **{name: _material(entry, name) for name in _MATERIAL[key_type]}}
    if key_type != "RSA":
        if not isinstance(curve, str) or not algorithms_of(key_type, curve):
            raise ValueError("its `crv` is not one that is supported")
        members["crv"] = curve
    # Section 3: the required members alone, in the order of their names, without blanks.
    text = ",".join([f'"{name}":"{members[name]}"' for name in sorted(members)])
    return base64.urlsafe_b64encode(sha256(f"{{{text}}}".encode()).digest()).rstrip(b"=").decode()


def _may_verify(operations: object) -> bool:
    return isinstance(operations, list) and "verify" in operations


def _algorithms(entry: dict[str, Any]) -> frozenset[str]:
    key_type, curve = entry.get("kty"), entry.get("crv")
    if not isinstance(key_type, str) or not isinstance(curve, str | None):
        raise ValueError("its `kty` or `crv` is not a text")
    algorithms = algorithms_of(key_type, curve)
    if not algorithms:
        raise ValueError("its `kty` or `crv` is not one that is supported")
    if "alg" not in entry:
        return algorithms
    algorithm = entry["alg"]
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise ValueError("its `alg` is not supported, or not one of its type and curve")
    return frozenset({algorithm})


def _public_key(entry: dict[str, Any], algorithms: frozenset[str]) -> PublicKey:
    for member in _MATERIAL[entry["kty"]]:
        _material(entry, member)
    try:
        key: PublicKey = ALGORITHMS[min(algorithms)].from_jwk(entry)
    except (ValueError, InvalidKeyError) as error:
        raise ValueError("its numbers are no key of its type and curve") from error
    if isinstance(key, RSAPublicKey):
        _check_rsa(key)
    return key


def _material(entry: Mapping[str, Any], member: str) -> str:
    value = entry.get(member)
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        raise ValueError(f"its `{member}` is not base64url")
    return value


def _check_rsa(key: RSAPublicKey) -> None:
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise ValueError(f"it has {key.key_size} bits; an RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS}")
    # The cost of a verification grows with the exponent.
    if key.public_numbers().e.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise ValueError(f"its exponent has more than {MAX_RSA_EXPONENT_BITS} bits")
