"""Who the user is, by the access token."""

from collections.abc import Callable, Mapping
from hashlib import blake2b, blake2s
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from authz_server.errors import Reason, Refused
from authz_server.identity.access_token import MAX_SKEW_S, Validity, check_claims, check_header
from authz_server.identity.actor import actor_of
from authz_server.identity.algorithms import ALGORITHMS
from authz_server.identity.cache import BoundedCache, size_of
from authz_server.identity.claims import groups, roles, scopes
from authz_server.identity.confirmation import Binding, binding_of, check_binding
from authz_server.identity.keys import Key, KeySet
from authz_server.identity.revocations import Revocations
from authz_server.identity.settings import IdentitySettings, Issuer
from authz_server.identity.token import MAX_TOKEN_BYTES, ParsedToken, strict_parse
from authz_server.model import User

if TYPE_CHECKING:
    from authz_server.identity.introspection import OpaqueTokens

MIN_HASH_KEY_BYTES = 16
TOKEN_HASH_BYTES = 16
DOTS_OF_A_JWT = 2

_ENTRY_OVERHEAD_BYTES = 1024


class VerifiedToken(Struct, frozen=True):
    """What a good token proves."""

    user: User
    token_hash: str
    """Keyed, so that records can be joined by it and no token can be tried against it."""


class CachedToken(Struct, frozen=True):
    """A token whose signature and claims are good; its times are looked at on each use."""

    verified: VerifiedToken
    validity: Validity
    binding: Binding | None
    """What must be proved on each use; None for a token of anybody."""
    kid: str | None
    """The key that signed it, where it names one."""


class UserVerifier:
    """Verifies tokens with the keys and settings of one generation.

    `keys` are by the issuer's configured name. `cache` may be shared with verifiers of other generations, whose
    entries are never used here. `revocations` are looked at on each use, and need no generation of their own.
    `on_unknown_key` is told the issuer's name and must return at once. `opaque` knows tokens that only their issuer can
    read.
    Raises ValueError on settings that cannot hold.
    """

    def __init__(
        self,
        settings: IdentitySettings,
        keys: Mapping[str, KeySet],
        generation: int,
        cache: BoundedCache[tuple[int, bytes], CachedToken],
        hash_key: bytes,
        on_unknown_key: Callable[[str], None],
        revocations: Revocations | None = None,
        opaque: "OpaqueTokens | None" = None,
    ) -> None:
        self._issuers = _by_identifier(settings.issuers)
        self._keys = keys
        self.generation = generation
        self._cache = cache
        self._hash_key = hash_key
        self._on_unknown_key = on_unknown_key
        self._revocations = revocations
        self._opaque = opaque
        if not MIN_HASH_KEY_BYTES <= len(hash_key) <= blake2s.MAX_KEY_SIZE:
            raise ValueError(f"the hash key must have {MIN_HASH_KEY_BYTES} to {blake2s.MAX_KEY_SIZE} bytes")

    def verify(
        self, token: str, now: float, fingerprint: str | None = None, proof_key: str | None = None
    ) -> VerifiedToken:
        """Verify an access token at the time `now` (seconds since the epoch).

        `fingerprint` is that of the certificate by which the proxy knows the caller, and `proof_key` the
        thumbprint of the key of its DPoP proof; None without one.

        Raises Refused (`token_invalid`, `token_expired`, `token_revoked`, `issuer_unavailable`), and
        IntrospectionNeeded where the issuer has to be asked first.
        """
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise Refused(Reason.TOKEN_INVALID, f"the token is longer than {MAX_TOKEN_BYTES} bytes or not ASCII")
        encoded = token.encode()
        # BLAKE2 is part of the interpreter: the way into OpenSSL costs more than the hash, on every request.
        key = (self.generation, blake2b(encoded, digest_size=32).digest())
        if self._opaque is not None and token.count(".") != DOTS_OF_A_JWT:
            cached: CachedToken | None = self._opaque.find(token, key[1], now)
        else:
            cached = self._cache.get(key)
            if cached is None and self._opaque is not None and self._opaque.reads(token):
                cached = self._opaque.find(token, key[1], now)
        if cached is None:
            cached = self._verified(token, encoded, now)
            self._cache.put(key, cached, size_of_token(cached))
        elif now >= cached.validity.valid_until:
            raise Refused(Reason.TOKEN_EXPIRED, "the token has expired")
        elif now < cached.validity.valid_from:
            raise Refused(Reason.TOKEN_INVALID, "the token is not valid yet")
        if cached.binding is not None or proof_key is not None:
            check_binding(cached.binding, fingerprint, proof_key)
        if self._revocations is not None:
            self._revocations.check_user(cached.verified.user, cached.kid)
        return cached.verified

    def _verified(self, token: str, encoded: bytes, now: float) -> CachedToken:
        parsed = strict_parse(token)
        issuer = self._issuer(parsed.claims)
        check_header(parsed.header, issuer)
        algorithm = self._algorithm(parsed, issuer)
        key = self._key(parsed, issuer, algorithm)
        if not key.verifies(algorithm, parsed.signing_input, parsed.signature):
            raise Refused(Reason.TOKEN_INVALID, "the token's signature is not good")
        validity = check_claims(parsed.claims, issuer, now)
        binding = binding_of(parsed.claims)
        token_hash = blake2s(encoded, key=self._hash_key, digest_size=TOKEN_HASH_BYTES).hexdigest()
        user = user_of(parsed.claims, issuer, validity, bound=binding is not None)
        return CachedToken(VerifiedToken(user, token_hash), validity, binding, key.kid)

    def _issuer(self, claims: Mapping[str, Any]) -> Issuer:
        """The issuer whose keys and rules count; that the token names it is proved by the signature."""
        identifier = claims.get("iss")
        issuer = self._issuers.get(identifier) if isinstance(identifier, str) else None
        if issuer is None:
            raise Refused(Reason.TOKEN_INVALID, "the token's `iss` is not a known issuer")
        return issuer

    def _algorithm(self, parsed: ParsedToken, issuer: Issuer) -> str:
        algorithm = parsed.header.get("alg")
        # Whatever the settings list: `none` and the symmetric ones are not among ours.
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or algorithm not in issuer.algorithms:
            raise Refused(Reason.TOKEN_INVALID, "the token's `alg` is not allowed for its issuer")
        return algorithm

    def _key(self, parsed: ParsedToken, issuer: Issuer, algorithm: str) -> Key:
        """The key that the token names, from the issuer's own set and nowhere else."""
        known = self._keys.get(issuer.name)
        if known is None or not known.keys:
            raise Refused(Reason.ISSUER_UNAVAILABLE, f"there are no keys for the issuer `{issuer.name}`")
        kid = parsed.header.get("kid")
        if "kid" in parsed.header and (not isinstance(kid, str) or not kid):
            raise Refused(Reason.TOKEN_INVALID, "the token's `kid` is not a text")
        if kid is not None and not known.has(kid):
            self._on_unknown_key(issuer.name)
            raise Refused(Reason.TOKEN_INVALID, "the token's `kid` is not a known key of its issuer")
        key = known.find(kid, algorithm)
        if key is None:
            raise Refused(Reason.TOKEN_INVALID, "no single key of the issuer fits the token's `alg`")
        return key


def _by_identifier(issuers: tuple[Issuer, ...]) -> dict[str, Issuer]:
    by_identifier = {issuer.issuer: issuer for issuer in issuers}
    if len(by_identifier) != len(issuers):
        raise ValueError("two issuers have the same `issuer`")
    if any(not 0 <= issuer.skew_s <= MAX_SKEW_S for issuer in issuers):
        raise ValueError(f"an issuer's `skew` is not between 0 and {MAX_SKEW_S:.0f} seconds")
    return by_identifier


def size_of_token(token: CachedToken) -> int:
    """How many bytes of memory it takes, about: a text of scopes has become a set of many."""
    user = token.verified.user
    return _ENTRY_OVERHEAD_BYTES + size_of((user.claims, user.scopes, user.roles, user.groups))


def user_of(claims: dict[str, Any], issuer: Issuer, validity: Validity, *, bound: bool) -> User:
    """The user that these claims name. Raises Refused (`token_invalid`)."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Refused(Reason.TOKEN_INVALID, "the token's `sub` is not a text")
    return User(
        issuer=issuer.name,
        subject=subject,
        scopes=scopes(claims, issuer.claims),
        roles=roles(claims, issuer.claims),
        groups=groups(claims, issuer.claims),
        claims=claims,
        expires=validity.expires,
        bound=bound,
        actor=actor_of(claims, issuer.issuer),
    )
