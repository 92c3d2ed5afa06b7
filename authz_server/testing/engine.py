"""The engine that serves, with callers who are who their cases say; everything else is as in a worker."""

from collections.abc import Iterable
from secrets import token_bytes

from msgspec.structs import replace

from authz_server.errors import Reason, Refused
from authz_server.identity.cache import BoundedCache
from authz_server.identity.settings import IdentitySettings, TrustDomain
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.identity.user import UserVerifier, VerifiedToken
from authz_server.model import Decision, User
from authz_server.pipeline import check
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import PolicyIndex
from authz_server.policy.plan import Plan
from authz_server.snapshot import Caches, Snapshot, build_verifiers
from authz_server.testing.cases import BoundCase

_HEADER = ("authorization", b"Bearer of-the-stated-user")
"""A case that sends another one as well sends two, which no server takes."""


class StatedUser(UserVerifier):
    """Finds the user whom a case states in whatever token comes, for as long as it is good."""

    def __init__(self, stated: User | Refused) -> None:
        self._stated = stated

    def verify(
        self, token: str, now: float, fingerprint: str | None = None, proof_key: str | None = None
    ) -> VerifiedToken:
        """The stated user. Raises Refused (`token_invalid`, `token_expired`)."""
        if isinstance(self._stated, Refused):
            raise self._stated
        if now >= self._stated.expires:
            raise Refused(Reason.TOKEN_EXPIRED, "the token has expired")
        return VerifiedToken(self._stated, "")


class Engine:
    """Decides cases by one plan."""

    def __init__(self, plan: Plan, settings: IdentitySettings, max_body: int, cases: Iterable[BoundCase]) -> None:
        """`cases` are those that it will be asked about, whose workloads are believed; `max_body` is in bytes."""
        domains = {parse_spiffe_id(name).trust_domain for name in {case.request.principal for case in cases} if name}
        self.identity = IdentitySettings(
            issuers=settings.issuers,
            trust_domains=tuple(map(TrustDomain, sorted(domains))),
            certificate="principal",
            identity_headers=settings.identity_headers,
        )
        self.plan = plan
        self.max_body = max_body
        self.runtime = ConditionRuntime()
        self.policies = PolicyIndex(plan, self.runtime, self.identity.identity_headers)
        verifiers = build_verifiers(
            1,
            self.identity,
            {},
            {},
            Caches(certificates=BoundedCache(1, 1 << 20), tokens=BoundedCache(1, 1 << 20)),
            hash_key=token_bytes(32),
            on_unknown_key=lambda _issuer: None,
        )
        self._snapshot = Snapshot(1, self.policies, verifiers, max_body=max_body)

    def decide(self, case: BoundCase, policies: PolicyIndex | None = None) -> Decision:
        """The decision about a case; `policies` stand in place of the plan's own."""
        snapshot, request = self._snapshot, case.request
        if case.user is not None:
            verifiers = replace(snapshot.verifiers, users=StatedUser(case.user))
            snapshot = replace(snapshot, verifiers=verifiers)
            request = replace(request, headers=(*request.headers, _HEADER))
        return check(request, snapshot if policies is None else replace(snapshot, policies=policies), case.now)
