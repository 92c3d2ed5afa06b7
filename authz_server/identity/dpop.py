"""Proofs of possession: whoever uses a token signs each request with the key that the token is bound to (RFC 9449)."""

import base64
from collections.abc import Mapping
from hashlib import blake2b, sha256
from typing import Any, Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from authz_server.bounds import MIB, Bound
from authz_server.errors import Reason, Refused
from authz_server.identity.access_token import numeric_date
from authz_server.identity.algorithms import ALGORITHMS
from authz_server.identity.cache import BoundedCache, size_of
from authz_server.identity.keys import Key, public_key, thumbprint
from authz_server.identity.settings import Dpop
from authz_server.identity.token import ParsedToken, read_jws

MAX_PROOF_BYTES = 8 * 1024
MAX_IDENTIFIER = 256
"""Characters of a `jti`."""
TYPE = "dpop+jwt"
# RFC 7515 section 4.1.11 and RFC 7797: no extension is supported, so none may be critical.
_UNSUPPORTED = ("crit", "b64", "zip", "enc")
_DIGEST_BYTES = 16
SIGNERS = Bound(
    "keys of DPoP proofs",
    "snapshot",
    entries=10_000,
    bytes=32 * MIB,
    holds="Keys of clients that have made a good proof.",
    full="The oldest goes, and is read again.",
    kept_in=("ProofVerifier._signers",),
)
_SIGNER_OVERHEAD_BYTES = 1024

Claimed = Literal["first", "again", "forgotten", "full", "busy"]
"""Nobody has used the proof before; somebody has; nobody can know; no room to remember it; no turn to look."""


class Replays(Protocol):
    """The memory of all proofs that were used; the same for all workers."""

    def claim(self, digest: bytes, until: float, now: float) -> Claimed:
        """Use a proof, known by its digest, that nobody can use any more from `until` on; seconds since the epoch.

        Waits for nothing.
        """
        ...


class Signer(Struct, frozen=True):
    """What follows from the header of a proof, which is the same in each of a client's proofs."""

    header: dict[str, Any]
    algorithm: str
    thumbprint: str
    """Of the key (RFC 7638)."""
    key: Key | None = None
    """None until it is needed."""


class Proof(Struct, frozen=True):
    """What a proof says; that whoever sent it has the key is not shown before `prove`."""

    thumbprint: str
    """Of its key."""
    method: str
    uri: str
    digest: bytes
    """Of its key and its `jti`: by which it is known."""
    until: float
    """From when it is too old, in seconds since the epoch."""
    parsed: ParsedToken
    signer: Signer


class ProofVerifier:
    """Verifies proofs. Without `replays` nobody remembers them, as a command that decides a single request."""

    def __init__(self, settings: Dpop, replays: Replays | None = None) -> None:
        self.scheme = settings.scheme
        """Of the URLs by which clients reach the proxy."""
        self._settings = settings
        self._replays = replays
        # By the first part of a proof; only what has made a good proof enters.
        self._signers = BoundedCache[str, Signer](SIGNERS.entries, SIGNERS.bytes)

    def read(self, text: str, token: str, now: float) -> Proof:
        """What a proof says that came with this access token at this time (seconds since the epoch).

        Everything of RFC 9449 section 4.3 that can be told without the request's target, but for the signature. Raises
        Refused (`proof_invalid`).
        """
        try:
            signer = self._signers.get(text.partition(".")[0])
            parsed = read_jws(text, MAX_PROOF_BYTES, None if signer is None else signer.header)
            signer = signer or _signer(parsed.header, self._settings)
            claims = parsed.claims
            method, uri, identifier = [_text(claims, name) for name in ("htm", "htu", "jti")]
            if len(identifier) > MAX_IDENTIFIER:
                raise ValueError(f"its `jti` is longer than {MAX_IDENTIFIER} characters")
            if claims.get("ath") != token_hash(token):
                raise ValueError("its `ath` is not the hash of the token")
            until = _until(claims, self._settings, now)
        except ValueError as error:
            raise _invalid(str(error)) from error
        digest = blake2b(f"{signer.thumbprint}.{identifier}".encode(), digest_size=_DIGEST_BYTES).digest()
        return Proof(signer.thumbprint, method, uri, digest, until, parsed, signer)

    def prove(self, proof: Proof, now: float) -> None:
        """Verify the signature, and use the proof up: to be called once, when everything else is known to be good.

        Raises Refused: `proof_invalid`; `overloaded`, `not_ready` where it cannot be told whether it was used before.
        """
        parsed, signer = proof.parsed, proof.signer
        try:
            key = signer.key or public_key(signer.header["jwk"])
        except ValueError as error:
            raise _invalid(f"of its `jwk`: {error}") from error
        if not key.verifies(signer.algorithm, parsed.signing_input, parsed.signature):
            raise _invalid("its signature is not good")
        if signer.key is None:
            first_part = parsed.signing_input.partition(b".")[0].decode()
            size = _SIGNER_OVERHEAD_BYTES + len(first_part) + size_of(signer.header)
            self._signers.put(first_part, replace(signer, key=key), size)
        claimed = "first" if self._replays is None else self._replays.claim(proof.digest, proof.until, now)
        match claimed:
            case "first":
                return
            case "again":
                raise _invalid("it was used before")
            case "forgotten":
                raise Refused(Reason.NOT_READY, "whether the DPoP proof was used before is not known")
            case "full":
                raise Refused(Reason.OVERLOADED, "there is no room to remember one more DPoP proof")
            case "busy":
                raise Refused(Reason.OVERLOADED, "the memory of DPoP proofs could not be had in time")


def token_hash(token: str) -> str:
    """The `ath` of an access token (RFC 9449 section 4.2)."""
    return base64.urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()


def _signer(header: dict[str, Any], settings: Dpop) -> Signer:
    return Signer(header, _algorithm(header, settings), _key_thumbprint(header))


def _algorithm(header: Mapping[str, Any], settings: Dpop) -> str:
    if any(name in header for name in _UNSUPPORTED):
        raise ValueError("its header has `crit`, `b64`, `zip` or `enc`")
    token_type = header.get("typ")
    if not isinstance(token_type, str) or token_type.lower().removeprefix("application/") != TYPE:
        raise ValueError(f"its `typ` is not `{TYPE}`")
    algorithm = header.get("alg")
    # Whatever the settings list: `none` and the symmetric ones are not among ours.
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or algorithm not in settings.algorithms:
        raise ValueError("its `alg` is not one of `dpop.algorithms`")
    return algorithm


def _key_thumbprint(header: Mapping[str, Any]) -> str:
    jwk = header.get("jwk")
    if not isinstance(jwk, dict):
        raise ValueError("its header has no `jwk`")
    try:
        return thumbprint(jwk)
    except ValueError as error:
        raise ValueError(f"of its `jwk`: {error}") from error


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"its `{name}` is not a text")
    return value


def _until(claims: Mapping[str, Any], settings: Dpop, now: float) -> float:
    """From when the proof is too old; `exp` and `nbf`, which no proof needs, count where they are (RFC 7519)."""
    times = {name: numeric_date(claims[name]) for name in ("iat", "exp", "nbf") if name in claims}
    for name, time in times.items():
        if time is None:
            raise ValueError(f"its `{name}` is not a time")
    issued_at, expires, begins = [times.get(name) for name in ("iat", "exp", "nbf")]
    if issued_at is None:
        raise ValueError("it has no `iat`")
    until = issued_at + settings.max_age_s + settings.skew_s
    if now >= until or (expires is not None and now >= expires + settings.skew_s):
        raise ValueError("it is too old")
    if now < max(issued_at, begins or 0.0) - settings.skew_s:
        raise ValueError("it is not valid yet")
    return until


def _invalid(fault: str) -> Refused:
    return Refused(Reason.PROOF_INVALID, f"the DPoP proof is not acceptable: {fault}")
