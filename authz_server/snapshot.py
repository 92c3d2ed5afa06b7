"""Everything that decides, of one generation: policies, keys, trust bundles and settings. Immutable."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from authz_server.identity.api_keys import ApiKey, ApiKeyVerifier
from authz_server.identity.bundle import Bundle
from authz_server.identity.cache import BoundedCache
from authz_server.identity.dpop import ProofVerifier, Replays
from authz_server.identity.introspection import OpaqueTokens
from authz_server.identity.jwt_svid import JwtSvidVerifier
from authz_server.identity.keys import KeySet
from authz_server.identity.revocations import Revocations
from authz_server.identity.settings import IdentitySettings
from authz_server.identity.upstream_token import UpstreamTokenSigner
from authz_server.identity.user import UserVerifier
from authz_server.identity.workload import WorkloadVerifier
from authz_server.policy.candidate import Candidate
from authz_server.policy.index import PolicyIndex
from authz_server.request.body import DEFAULT_MAX_BYTES
from authz_server.request.proxies import Proxies


class Caches(Struct, frozen=True):
    """What outlives snapshots: entries carry the generation of keys and bundles under which they were verified."""

    certificates: BoundedCache[Any, Any]
    tokens: BoundedCache[Any, Any]


class Verifiers(Struct, frozen=True):
    """Who callers are, by one generation of keys and bundles."""

    workloads: WorkloadVerifier
    users: UserVerifier
    proxies: Proxies | None = None
    """None where no proxy stands in front."""
    svids: JwtSvidVerifier | None = None
    """None where no JWT-SVIDs are taken."""
    api_keys: ApiKeyVerifier | None = None
    """None where no API keys are taken."""
    proofs: ProofVerifier | None = None
    """None where no tokens are taken that are bound to a key."""


class Snapshot(Struct, frozen=True):
    """One generation. A check uses exactly one, and its decision names the revision of the policies."""

    generation: int
    policies: PolicyIndex
    verifiers: Verifiers
    upstream_tokens: UpstreamTokenSigner | None = None
    """None where upstreams get no token of ours."""
    max_body: int = DEFAULT_MAX_BYTES
    """The bytes of the largest body that rules read."""
    stale: bool = False
    """The policies are those of an earlier run, because their directory is broken."""
    candidate: Candidate | None = None
    """None where no other policies are asked."""


def build_verifiers(
    generation: int,
    settings: IdentitySettings,
    keys: Mapping[str, KeySet],
    bundles: Mapping[str, Bundle],
    caches: Caches,
    *,
    hash_key: bytes,
    on_unknown_key: Callable[[str], None],
    revocations: Revocations | None = None,
    opaque: OpaqueTokens | None = None,
    api_keys: Iterable[ApiKey] = (),
    replays: Replays | None = None,
) -> Verifiers:
    """Make verifiers that use no cached entry of another generation.

    `keys` are by the issuer's configured name, `bundles` by trust domain; `on_unknown_key` is told the issuer whose
    token named a key that is not there; without `replays` proofs of possession are good any number of times.
    """
    svids = None
    if settings.jwt_svids is not None:
        domains = {domain.name for domain in settings.trust_domains}
        trusted = {name: bundle.keys for name, bundle in bundles.items() if name in domains}
        svids = JwtSvidVerifier(settings.jwt_svids, trusted, generation, caches.tokens, on_unknown_key, revocations)
    shown = settings.api_keys
    return Verifiers(
        api_keys=None if shown is None else ApiKeyVerifier(shown, api_keys, hash_key, revocations),
        svids=svids,
        proofs=None if settings.dpop is None else ProofVerifier(settings.dpop, replays),
        proxies=Proxies(settings.proxies) if settings.proxies else None,
        workloads=WorkloadVerifier(settings, bundles, generation, caches.certificates, revocations),
        users=UserVerifier(settings, keys, generation, caches.tokens, hash_key, on_unknown_key, revocations, opaque),
    )
