"""Everything that decides, of one generation: policies, keys, trust bundles and settings. Immutable."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from authz_server.identity.bundle import Bundle
from authz_server.identity.cache import BoundedCache
from authz_server.identity.keys import KeySet
from authz_server.identity.settings import IdentitySettings
from authz_server.identity.user import UserVerifier
from authz_server.identity.workload import WorkloadVerifier
from authz_server.policy.index import PolicyIndex


class Snapshot(Struct, frozen=True):
    """One generation. A check uses exactly one, and its decision names the revision."""

    generation: int
    policies: PolicyIndex
    workloads: WorkloadVerifier
    users: UserVerifier
    identity_headers: frozenset[str]


class Caches(Struct, frozen=True):
    """What outlives a snapshot: entries carry the generation under which they were verified."""

    certificates: BoundedCache[Any, Any]
    tokens: BoundedCache[Any, Any]


class Material(Struct, frozen=True):
    """The keys and certificates of one generation: by the issuer's configured name, and by trust domain."""

    keys: Mapping[str, KeySet]
    bundles: Mapping[str, Bundle]


def build_snapshot(
    generation: int,
    policies: PolicyIndex,
    settings: IdentitySettings,
    material: Material,
    caches: Caches,
    *,
    hash_key: bytes,
    on_unknown_key: Callable[[str], None],
) -> Snapshot:
    """Make a snapshot. `on_unknown_key` is told the issuer whose token named a key that we do not have."""
    return Snapshot(
        generation=generation,
        policies=policies,
        workloads=WorkloadVerifier(settings, material.bundles, generation, caches.certificates),
        users=UserVerifier(settings, material.keys, generation, caches.tokens, hash_key, on_unknown_key),
        identity_headers=frozenset(settings.identity_headers),
    )
