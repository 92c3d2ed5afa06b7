"""Snapshots of a worker between their arrival and their use."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Verifying loads it otherwise, with the first token or certificate that a new worker sees.
import cryptography.hazmat.backends.openssl.backend  # noqa: F401

from authz_server.bounds import MIB, Bound
from authz_server.identity.api_keys import ApiKey
from authz_server.identity.bundle import parse_bundle
from authz_server.identity.cache import BoundedCache
from authz_server.identity.dpop import Replays
from authz_server.identity.introspection import OpaqueTokens
from authz_server.identity.keys import parse_jwks
from authz_server.identity.revocations import Revocations
from authz_server.identity.signing_keys import parse_signing_keys
from authz_server.identity.upstream_token import UpstreamTokenSigner
from authz_server.policy.candidate import NOBODY, Candidate, Watch
from authz_server.policy.collection import nothing, without_collection
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.conditions.evaluation import never
from authz_server.policy.index import PolicyIndex
from authz_server.policy.packing import PackedPlan
from authz_server.snapshot import Caches, Snapshot, Verifiers, build_verifiers
from authz_server.worker.giving_way import Step, giving_way
from authz_server.worker.messages import PackedCandidate, Prepare, SigningKeys, WorkerSettings
from authz_server.worker.services import Services

CERTIFICATES = Bound(
    "certificates",
    "worker",
    entries=10_000,
    bytes=24 * MIB,
    holds="What callers' certificates say, those that are refused too.",
    full="The oldest goes, and is verified again.",
    kept_in=("Snapshots.caches",),
)
TOKENS = Bound(
    "tokens",
    "worker",
    entries=50_000,
    bytes=128 * MIB,
    holds="JWTs and JWT-SVIDs that are good, what they say, and never one that is refused.",
    full="The oldest goes, and is verified again.",
    kept_in=("Snapshots.caches",),
)


class WrongGeneration(Exception):
    """A message does not fit the ones before it."""


class Snapshots:
    """Builds a snapshot, keeps it aside, and hands it out when it is activated."""

    def __init__(
        self,
        settings: WorkerSettings,
        on_unknown_key: Callable[[str], None],
        opaque: OpaqueTokens | None = None,
        replays: Replays | None = None,
        watch: Callable[[str], Watch] | None = None,
        is_pressed: Callable[[], bool] = never,
    ) -> None:
        """`watch` makes what is told of a candidate with this revision; `is_pressed` is whether calls have to wait."""
        self._settings = settings
        self._watch = watch
        self._is_pressed = is_pressed
        self._services = Services(ConditionRuntime(), settings.identity.identity_headers)
        self._opaque = opaque
        self._replays = replays
        self._on_unknown_key = on_unknown_key
        self.caches = Caches(
            certificates=BoundedCache(CERTIFICATES.entries, CERTIFICATES.bytes),
            tokens=BoundedCache(TOKENS.entries, TOKENS.bytes),
        )
        self._prepared: Snapshot | None = None
        self._policies: PolicyIndex | None = None
        self._candidate: Candidate | None = None
        self._verifiers: Verifiers | None = None
        self._material: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {})
        self._verified_generation = 0
        """The keys and bundles of the verifiers, and the generation with which they came."""
        self._looked_up: tuple[Revocations | None, tuple[ApiKey, ...]] = (None, ())
        """Revocations and API keys of the verifiers, which no cached entry depends on."""

    def prepare(self, message: Prepare) -> None:
        """Build the snapshot. Raises WrongGeneration, and whatever a plan or a key that is broken raises."""
        policies = self._policies
        if message.plan is not None:
            policies = self._index(message.plan)
        if policies is None:
            raise WrongGeneration(
                f"generation {message.generation} keeps the policies of the one before, and there is none"
            )
        verifiers, signer = self._verifiers_for(message), self._signer_for(message.signing_keys)
        candidate = None if message.candidate is None else self._candidate_of(message.candidate)
        self._prepared = Snapshot(
            message.generation, policies, verifiers, signer, self._settings.max_body, message.stale, candidate
        )

    def activate(self, generation: int) -> Snapshot:
        """The prepared snapshot, which is then in use. Raises WrongGeneration."""
        snapshot = self._prepared
        if snapshot is None or snapshot.generation != generation:
            raise WrongGeneration(f"generation {generation} was not prepared")
        self._prepared = None
        self._policies, self._candidate = snapshot.policies, snapshot.candidate
        return snapshot

    def shared(self) -> list[object]:
        """What policies that have left may have in common with those in use."""
        used = [] if self._policies is None else [self._policies]
        return self._services.shared_with(used if self._candidate is None else [*used, self._candidate.policies])

    def _index(self, packed: PackedPlan) -> PolicyIndex:
        with self._pace() as step, without_collection(freeze=True):
            return self._services.policies(packed, step)

    @contextmanager
    def _pace(self) -> Iterator[Step]:
        if self._policies is None:
            # Nothing is decided yet, so there is nobody to give way to.
            yield nothing
            return
        with giving_way() as step:
            yield step

    def _candidate_of(self, packed: PackedCandidate) -> Candidate:
        if packed.plan is not None:
            policies = self._index(packed.plan)
            watch = NOBODY if self._watch is None else self._watch(policies.revision)
        elif self._candidate is not None:
            policies, watch = self._candidate.policies, self._candidate.watch
        else:
            raise WrongGeneration("the candidate of the generation before is kept, and there is none")
        return Candidate(policies, watch, packed.sample, packed.rollout, self._is_pressed)

    def _verifiers_for(self, message: Prepare) -> Verifiers:
        """The verifiers of these keys and bundles; where they are those of before, so are all cached entries."""
        material = (message.keys, message.bundles)
        looked_up = (message.revocations, message.api_keys)
        if self._verifiers is None or self._material != material:
            self._verified_generation = message.generation
        elif self._looked_up == looked_up:
            return self._verifiers
        self._verifiers = build_verifiers(
            self._verified_generation,
            self._settings.identity,
            {issuer: parse_jwks(document) for issuer, document in message.keys.items()},
            {domain: parse_bundle(pem) for domain, pem in message.bundles.items()},
            self.caches,
            hash_key=self._settings.hash_key,
            on_unknown_key=self._on_unknown_key,
            revocations=message.revocations,
            opaque=self._opaque,
            api_keys=message.api_keys,
            replays=self._replays,
        )
        self._material, self._looked_up = material, looked_up
        return self._verifiers

    def _signer_for(self, keys: SigningKeys | None) -> UpstreamTokenSigner | None:
        settings = self._settings.identity.upstream_tokens
        if settings is None:
            return None
        return UpstreamTokenSigner(settings, () if keys is None else parse_signing_keys(keys.document))


def indexes_of(snapshot: Snapshot | None) -> list[PolicyIndex]:
    """The policies of a snapshot, those of its candidate too."""
    if snapshot is None:
        return []
    return [snapshot.policies, *([] if snapshot.candidate is None else [snapshot.candidate.policies])]
