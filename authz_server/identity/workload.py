"""Which workload calls, by the certificate that the proxy verified."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from authz_server.errors import Reason, Refused
from authz_server.identity.bundle import Bundle, Period
from authz_server.identity.cache import BoundedCache
from authz_server.identity.certificate import MAX_CERTIFICATE_CHARACTERS, InvalidCertificate, parse_leaf
from authz_server.identity.forwarded import ForwardedReader
from authz_server.identity.revocations import Revocations
from authz_server.identity.settings import IdentitySettings
from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id
from authz_server.identity.xfcc import Element
from authz_server.model import Request, SpiffeId, Workload

_ENTRY_BYTES = 2048


class CachedLeaf(Struct, frozen=True):
    """What a certificate's text says; its times are looked at on each use."""

    workload: Workload | None
    fault: str = ""
    """Why there is no workload."""
    period: Period = Period(0.0, 0.0)
    issuers: tuple[Period, ...] | None = None
    """Of the CAs that issued it; None where no bundle is configured."""


class WorkloadVerifier:
    """Identifies workloads by the trust domains and bundles of one generation.

    `bundles` are by trust domain. `cache` may be shared with verifiers of other generations, whose entries are
    never used here. `revocations` are looked at on each use.
    """

    def __init__(
        self,
        settings: IdentitySettings,
        bundles: Mapping[str, Bundle],
        generation: int,
        cache: BoundedCache[tuple[int, str], CachedLeaf],
        revocations: Revocations | None = None,
    ) -> None:
        self._verified_domains = {domain.name: domain.verify for domain in settings.trust_domains}
        self._believes_principal = settings.certificate == "principal"
        self._forwarded = None if settings.forwarded is None else ForwardedReader(settings.forwarded)
        self._bundles = bundles
        self._generation = generation
        self._cache = cache
        self._revocations = revocations

    def identify(self, request: Request, now: float) -> Workload | None:
        """The calling workload, None if the caller showed no certificate; `now` in seconds since the epoch.

        Raises Refused (`workload_refused`).
        """
        peer = self._shown(request, now)
        if peer is not None and self._revocations is not None:
            self._revocations.check_workload(peer)
        if self._forwarded is None or peer is None or not self._forwarded.is_hop(peer.id):
            return peer
        element = self._forwarded.caller(request.headers, peer)
        if element is None:
            return None
        caller = self._forwarded_caller(element, now)
        if self._revocations is not None:
            self._revocations.check_workload(caller)
        return msgspec.structs.replace(caller, via=peer.id.text)

    def _shown(self, request: Request, now: float) -> Workload | None:
        """The workload at the other end of the connection, by what it shows of itself."""
        if request.certificate:
            return self._by_certificate(request.certificate, request.principal, now)
        if not request.principal:
            return None
        # Elsewhere such a caller is refused and not anonymous: rules that deny a workload would not see it.
        if not self._believes_principal:
            raise _refused("there is a principal without a certificate: set include_peer_certificate in the proxy")
        try:
            identity = parse_spiffe_id(request.principal)
        except InvalidSpiffeId as error:
            raise _refused(f"the principal is not acceptable: {error}") from error
        return self._by_name(identity)

    def _forwarded_caller(self, element: Element, now: float) -> Workload:
        """The caller of whom a trusted proxy speaks."""
        if not element.certificate:
            return self._by_name(element.id)
        workload = self._by_certificate(element.certificate, element.id.text, now)
        if workload.certificate is None or workload.certificate.fingerprint != element.fingerprint:
            raise _refused("the certificate that a proxy forwards and its `Hash` disagree")
        return workload

    def _by_certificate(self, text: str, principal: str, now: float) -> Workload:
        if len(text) > MAX_CERTIFICATE_CHARACTERS or not text.isascii():
            raise _refused(f"the certificate is longer than {MAX_CERTIFICATE_CHARACTERS} characters or not ASCII")
        key = (self._generation, text)
        leaf = self._cache.get(key)
        if leaf is None:
            leaf = self._read(text)
            self._cache.put(key, leaf, _ENTRY_BYTES + len(text))
        workload = leaf.workload
        if workload is None:
            raise _refused(leaf.fault)
        if workload.id.text != principal:
            raise _refused("the certificate's SPIFFE ID and the proxy's principal disagree")
        if not leaf.period.includes(now):
            raise _refused("the certificate has expired or is not valid yet")
        if leaf.issuers is None:
            return workload
        for issuer in leaf.issuers:
            if issuer.includes(now):
                return workload
        raise _refused("no valid CA in the bundle of the certificate's trust domain has issued it")

    def _read(self, text: str) -> CachedLeaf:
        """Everything about a certificate that does not depend on the time; refusals are kept as well."""
        try:
            leaf = parse_leaf(text)
            self._check_trust_domain(leaf.id)
        except InvalidCertificate as error:
            return CachedLeaf(None, str(error))
        except Refused as refusal:
            return CachedLeaf(None, refusal.detail)
        issuers = None
        if self._verified_domains[leaf.id.trust_domain]:
            issuers = self._bundles.get(leaf.id.trust_domain, Bundle()).issuers_of(leaf.x509)
        period = Period(leaf.certificate.not_before, leaf.certificate.not_after)
        return CachedLeaf(Workload(leaf.id, leaf.certificate), period=period, issuers=issuers)

    def _by_name(self, identity: SpiffeId) -> Workload:
        """A workload of which a proxy gives the name alone, where the operator says that it is enough."""
        if not identity.segments:
            raise _refused("the principal is a whole trust domain, without a path")
        self._check_trust_domain(identity)
        if self._verified_domains[identity.trust_domain]:
            raise _refused("the trust domain has a bundle, and there is no certificate to verify against it")
        return Workload(identity, None)

    def _check_trust_domain(self, identity: SpiffeId) -> None:
        if identity.trust_domain not in self._verified_domains:
            raise _refused("the trust domain is not among those that are configured")


def _refused(detail: str) -> Refused:
    return Refused(Reason.WORKLOAD_REFUSED, detail)
