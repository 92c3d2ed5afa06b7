"""Credentials that are revoked before they expire: looked up on every use, so that what is cached is refused too."""

from collections.abc import Mapping
from math import inf
from typing import Any

from msgspec import Struct

from authz_server.errors import Reason, Refused
from authz_server.model import User, Workload


class IssuerRevocations(Struct, frozen=True):
    """What is revoked of one issuer."""

    before: float = -inf
    """Tokens issued before this time, seconds since the epoch; those that do not say when they were count as older."""
    tokens: frozenset[str] = frozenset()
    """By `jti` (RFC 7519 section 4.1.7)."""
    sessions: frozenset[str] = frozenset()
    """By `sid` (OpenID Connect Front-Channel Logout 1.0, section 3)."""
    keys: frozenset[str] = frozenset()
    """By `kid` (RFC 7515 section 4.1.4)."""
    subjects: Mapping[str, float] = {}
    """By `sub`: tokens issued before this time; infinity for all."""

    def fault(self, subject: str, claims: Mapping[str, Any], kid: str | None) -> str | None:
        """What of a token is revoked; None if it is good."""
        if kid in self.keys:
            return "the key of the token is revoked"
        if _is_among(claims.get("jti"), self.tokens):
            return "the token is revoked"
        if _is_among(claims.get("sid"), self.sessions):
            return "the token's session is revoked"
        issued_at = claims.get("iat", -inf)
        if issued_at < self.before:
            return "the token is older than its issuer's revocation"
        if issued_at < self.subjects.get(subject, -inf):
            return "the token's subject is revoked"
        return None


class Revocations(Struct, frozen=True):
    """Everything that is revoked; a look-up costs the same however much that is."""

    issuers: Mapping[str, IssuerRevocations] = {}
    """By the issuer's configured name."""
    workloads: frozenset[str] = frozenset()
    """SPIFFE IDs."""
    certificates: Mapping[str, frozenset[str]] = {}
    """Serial numbers by trust domain: lower-case hexadecimal without leading zeros."""

    def check_user(self, user: User, kid: str | None) -> None:
        """Look a verified token and its actor up; `kid` is of the key that signed it.

        Raises Refused (`token_revoked`).
        """
        if user.actor is not None and user.actor.id is not None and user.actor.id.text in self.workloads:
            raise Refused(Reason.TOKEN_REVOKED, "the workload that acts on behalf of the user is revoked")
        issuer = self.issuers.get(user.issuer)
        if issuer is None:
            return
        fault = issuer.fault(user.subject, user.claims, kid)
        if fault is not None:
            raise Refused(Reason.TOKEN_REVOKED, fault)

    def check_workload(self, workload: Workload) -> None:
        """Look a workload and its certificate up. Raises Refused (`workload_refused`)."""
        if workload.id.text in self.workloads:
            raise Refused(Reason.WORKLOAD_REFUSED, "the workload is revoked")
        if workload.certificate is None:
            return
        if workload.certificate.serial in self.certificates.get(workload.id.trust_domain, ()):
            raise Refused(Reason.WORKLOAD_REFUSED, "the workload's certificate is revoked")


def _is_among(value: object, revoked: frozenset[str]) -> bool:
    return isinstance(value, str) and value in revoked
