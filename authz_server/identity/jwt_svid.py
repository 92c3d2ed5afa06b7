"""Workloads by their JWT-SVIDs (JWT-SVID standard). Whoever has seen one can show it until it expires."""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from authz_server.errors import Reason, Refused
from authz_server.identity.access_token import Validity, check_audience, check_time, validity_of
from authz_server.identity.cache import BoundedCache
from authz_server.identity.keys import Key, KeySet
from authz_server.identity.revocations import Revocations
from authz_server.identity.settings import Issuer, JwtSvids
from authz_server.identity.spiffe import SCHEME, InvalidSpiffeId, parse_spiffe_id
from authz_server.identity.token import MAX_TOKEN_BYTES, ParsedToken, strict_parse
from authz_server.model import SpiffeId, Workload

ALGORITHMS = frozenset({f"{family}{bits}" for family in ("RS", "ES", "PS") for bits in (256, 384, 512)})
"""Section 2.1."""
_HEADER = frozenset({"alg", "kid", "typ"})
_TYPES = ("JWT", "JOSE")
_CACHE_DOMAIN = b"jwt-svid"
_ENTRY_BYTES = 2048


class CachedSvid(Struct, frozen=True):
    """A JWT-SVID whose signature and claims are good; its times are looked at on each use."""

    workload: Workload
    validity: Validity


class JwtSvidVerifier:
    """Verifies JWT-SVIDs with the keys of one generation.

    `keys` are those of the trust domains that have a bundle. `cache` may be shared with verifiers of tokens and of
    other generations, whose entries are never used here. `on_unknown_key` is told `spiffe://<trust domain>`.
    """

    def __init__(
        self,
        settings: JwtSvids,
        keys: Mapping[str, KeySet],
        generation: int,
        cache: BoundedCache[tuple[int, bytes], CachedSvid],
        on_unknown_key: Callable[[str], None],
        revocations: Revocations | None = None,
    ) -> None:
        self.header = settings.header
        """Where they come."""
        self._rules = Issuer("jwt-svid", "", settings.audiences, skew_s=settings.skew_s)
        self._keys = keys
        self._generation = generation
        self._cache = cache
        self._on_unknown_key = on_unknown_key
        self._revocations = revocations

    def identify(self, token: str, known: Workload | None, now: float) -> Workload:
        """The calling workload; `known` is the one that the proxy knows, whose certificate counts for more.

        Raises Refused: `token_invalid`, `token_expired`, `issuer_unavailable`; `workload_refused` where the two differ.
        """
        workload = self.verify(token, now)
        if known is None:
            return workload
        if known.id.text != workload.id.text:
            raise Refused(Reason.WORKLOAD_REFUSED, "the certificate and the JWT-SVID name different workloads")
        return known

    def verify(self, token: str, now: float) -> Workload:
        """The workload that the token names. Raises Refused as `identify`."""
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise _invalid(f"it is longer than {MAX_TOKEN_BYTES} bytes or not ASCII")
        # Never the key of a user's token, although the bytes may be the same.
        key = (self._generation, blake2b(token.encode(), digest_size=32, person=_CACHE_DOMAIN).digest())
        cached = self._cache.get(key)
        if cached is None:
            cached = self._verified(token, now)
            self._cache.put(key, cached, _ENTRY_BYTES)
        else:
            check_time(cached.validity, now)
        if self._revocations is not None:
            self._revocations.check_workload(cached.workload)
        return cached.workload

    def _verified(self, token: str, now: float) -> CachedSvid:
        parsed = strict_parse(token)
        algorithm = _algorithm(parsed.header)
        identity = _subject(parsed.claims)
        key = self._key(parsed, identity, algorithm)
        if not key.verifies(algorithm, parsed.signing_input, parsed.signature):
            raise _invalid("its signature is not good")
        check_audience(parsed.claims.get("aud"), self._rules)
        # RFC 7800: whoever binds a token means that it is worth nothing without the proof.
        if "cnf" in parsed.claims:
            raise _invalid("it has `cnf`, which no JWT-SVID has")
        validity = validity_of(parsed.claims, self._rules)
        check_time(validity, now)
        return CachedSvid(Workload(identity, None, by_token=True), validity)

    def _key(self, parsed: ParsedToken, identity: SpiffeId, algorithm: str) -> Key:
        """The key that the token names, from the bundle of its own trust domain and nowhere else."""
        known = self._keys.get(identity.trust_domain)
        if known is None:
            raise _invalid("its trust domain is not among those that have a bundle")
        if not known.keys:
            detail = f"there are no keys for JWT-SVIDs of the trust domain `{identity.trust_domain}`"
            raise Refused(Reason.ISSUER_UNAVAILABLE, detail)
        kid = parsed.header.get("kid")
        if "kid" in parsed.header and (not isinstance(kid, str) or not kid):
            raise _invalid("its `kid` is not a text")
        if kid is not None and not known.has(kid):
            self._on_unknown_key(f"{SCHEME}{identity.trust_domain}")
            raise _invalid("its `kid` is not a known key of its trust domain")
        key = known.find(kid, algorithm)
        if key is None:
            raise _invalid("no single key of its trust domain fits its `alg`")
        return key


def _algorithm(header: Mapping[str, Any]) -> str:
    """Sections 2 to 2.3: nothing else stands in the header."""
    if not header.keys() <= _HEADER:
        raise _invalid("its header has more than `alg`, `kid` and `typ`")
    if "typ" in header and header["typ"] not in _TYPES:
        raise _invalid("its `typ` is neither `JWT` nor `JOSE`")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _invalid("its `alg` is not one of JWT-SVIDs")
    return algorithm


def _subject(claims: Mapping[str, Any]) -> SpiffeId:
    """Section 3.1."""
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise _invalid("its `sub` is not a text")
    try:
        identity = parse_spiffe_id(subject)
    except InvalidSpiffeId as error:
        raise _invalid(f"its `sub` is no SPIFFE ID: {error}") from error
    if not identity.segments:
        raise _invalid("its `sub` is a whole trust domain, without a path")
    return identity


def _invalid(fault: str) -> Refused:
    return Refused(Reason.TOKEN_INVALID, f"the JWT-SVID is not acceptable: {fault}")
