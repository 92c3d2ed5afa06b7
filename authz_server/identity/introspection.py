"""Who the user is by a token that only its issuer can read, from what the issuer says about it (RFC 7662).

It asks nobody: whoever finds that the issuer has to be asked is told so, asks, and hands over what came.
"""

import re
import time
from collections.abc import Callable
from hashlib import blake2s
from typing import Any, Literal

from msgspec import Struct

from authz_server.bounds import MIB, Bound
from authz_server.errors import Reason, Refused
from authz_server.identity.access_token import check_claims, check_header
from authz_server.identity.cache import BoundedCache
from authz_server.identity.confirmation import KEY_HASH, binding_of
from authz_server.identity.settings import IdentitySettings, Introspection, Issuer
from authz_server.identity.strict_json import read_object
from authz_server.identity.token import strict_parse
from authz_server.identity.user import TOKEN_HASH_BYTES, CachedToken, VerifiedToken, size_of_token, user_of

MAX_ANSWER_BYTES = 64 * 1024
REFUSED_S = 5.0
"""How long a token that is not good is not asked about again, at most."""
FAILED_S = 1.0
"""How long a token is not asked about again after a failure."""

ACCEPTED = Bound(
    "good opaque tokens",
    "worker",
    entries=50_000,
    bytes=64 * MIB,
    holds="What the issuer has said about tokens that are good.",
    full="The oldest goes: its issuer is asked again.",
    kept_in=("OpaqueTokens._accepted",),
)
REFUSED = Bound(
    "refused opaque tokens",
    "worker",
    entries=25_000,
    bytes=16 * MIB,
    holds="Tokens that the issuer has called not good, or could not be asked about.",
    full="The oldest goes: its issuer is asked again.",
    kept_in=("OpaqueTokens._refused",),
)
_REFUSED_ENTRY_BYTES = 320
# RFC 6750 section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]++=*+", re.ASCII)

Result = Literal["accepted", "refused", "failed"]


class IntrospectionNeeded(Exception):
    """The issuer has to be asked about this token before the request can be decided."""

    def __init__(self, token: str, digest: bytes) -> None:
        # Without arguments: what prints an exception must not print a token.
        super().__init__()
        self.token = token
        self.digest = digest
        """By which the token is known while it is asked about."""


class _Known(Struct, frozen=True):
    """What is known of a token, and until when: it is good, or else refused for this reason."""

    until: float
    """Seconds of the monotonic clock: no step of the other one makes an answer hold longer."""
    token: CachedToken | None
    reason: Reason = Reason.TOKEN_INVALID
    detail: str = ""


class OpaqueTokens:
    """What the one issuer that is asked has said, within bounds.

    What is known of a token holds whatever keys and policies come: it follows from the settings alone. Tokens that are
    not good have a cache of their own: whoever makes tokens up pushes nothing out that is good.
    """

    def __init__(
        self,
        issuer: Issuer,
        settings: Introspection,
        hash_key: bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` tells how old answers are, in seconds."""
        self._clock = clock
        self.issuer = issuer
        self.settings = settings
        self._hash_key = hash_key
        self._accepted = BoundedCache[bytes, _Known](ACCEPTED.entries, ACCEPTED.bytes)
        self._refused = BoundedCache[bytes, _Known](REFUSED.entries, REFUSED.bytes)

    def reads(self, token: str) -> bool:
        """Whether this JWT is asked about: it says that it is of the issuer, which has no keys.

        Raises Refused (`token_invalid`) on what is no JWT, or has a header that no access token of the issuer has.
        """
        if not self.settings.all_tokens:
            return False
        parsed = strict_parse(token)
        if parsed.claims.get("iss") != self.issuer.issuer:
            return False
        check_header(parsed.header, self.issuer)
        return True

    def find(self, token: str, digest: bytes, now: float) -> CachedToken:
        """What the issuer has said about this token; `digest` is its hash.

        Raises Refused (`token_invalid`, `token_expired`, `issuer_unavailable`), and IntrospectionNeeded.
        """
        known = self._accepted.get(digest)
        if known is None or not self._holds(known, now):
            known = self._refused.get(digest)
        if known is None or not self._holds(known, now):
            if not _TOKEN.fullmatch(token):
                raise _invalid("it has characters that no token has")
            raise IntrospectionNeeded(token, digest)
        if known.token is None:
            raise Refused(known.reason, known.detail)
        return known.token

    def take(self, needed: IntrospectionNeeded, answer: bytes, now: float) -> Result:
        """Keep what the issuer has answered. Raises ValueError on what is no answer, in words without the input."""
        claims = read_object(answer)
        active = claims.get("active")
        if not isinstance(active, bool):
            raise ValueError("without `active`, true or false")
        try:
            token = self._token(needed.token, claims, active, now)
        except Refused as refusal:
            until = self._clock() + min(REFUSED_S, self.settings.max_age_s)
            self._refuse(needed.digest, _Known(until, None, refusal.reason, refusal.detail))
            return "refused"
        known = _Known(self._clock() + self.settings.max_age_s, token)
        self._accepted.put(needed.digest, known, size_of_token(token))
        return "accepted"

    def fail(self, needed: IntrospectionNeeded) -> None:
        """The issuer has given no answer that can be used."""
        detail = f"the issuer `{self.issuer.name}` did not say whether the token is good"
        self._refuse(needed.digest, _Known(self._clock() + FAILED_S, None, Reason.ISSUER_UNAVAILABLE, detail))

    def _holds(self, known: _Known, now: float) -> bool:
        """Whether it is not too old, nor the token at its end, which is a time of day."""
        return self._clock() < known.until and (known.token is None or now < known.token.validity.valid_until)

    def _refuse(self, digest: bytes, known: _Known) -> None:
        self._refused.put(digest, known, _REFUSED_ENTRY_BYTES)

    def _token(self, token: str, claims: dict[str, Any], active: bool, now: float) -> CachedToken:
        if not active:
            raise _invalid("its issuer says that it is not active")
        # RFC 7662 section 2.2: `iss` may be missing, because it is clear who was asked.
        claims = {"iss": self.issuer.issuer, **claims}
        _check_type(claims)
        validity = check_claims(claims, self.issuer, now)
        binding = binding_of(claims)
        user = user_of(claims, self.issuer, validity, bound=binding is not None)
        token_hash = blake2s(token.encode(), key=self._hash_key, digest_size=TOKEN_HASH_BYTES).hexdigest()
        return CachedToken(VerifiedToken(user, token_hash), validity, binding, None)


def opaque_tokens(settings: IdentitySettings, hash_key: bytes) -> OpaqueTokens | None:
    """The opaque tokens of the issuer that is asked about them; None where there is none.

    Raises ValueError where there are several: nothing would tell whose a token is.
    """
    asked = [(issuer, issuer.introspection) for issuer in settings.issuers if issuer.introspection is not None]
    if len(asked) > 1:
        raise ValueError("two issuers have `introspection`")
    return OpaqueTokens(*asked[0], hash_key) if asked else None


def _check_type(claims: dict[str, Any]) -> None:
    """Refuse what is no access token, and one that is said to be bound when nothing says to which key."""
    kind = claims.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() not in ("bearer", "dpop"):
        raise _invalid("its `token_type` is neither `Bearer` nor `DPoP`")
    confirmation = claims.get("cnf")
    if kind.lower() == "dpop" and not (isinstance(confirmation, dict) and KEY_HASH in confirmation):
        raise _invalid("its `token_type` is `DPoP`, and it has no `cnf.jkt`")


def _invalid(fault: str) -> Refused:
    return Refused(Reason.TOKEN_INVALID, f"the token is not acceptable: {fault}")
