"""Workloads by their certificates."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.bundle import Bundle, parse_bundle
from authz_server.identity.cache import BoundedCache
from authz_server.identity.settings import IdentitySettings, TrustDomain
from authz_server.identity.spiffe import parse_spiffe_id
from authz_server.identity.workload import CachedLeaf, WorkloadVerifier
from authz_server.model import Request, Workload
from tests.unit.identity.certificates import NOW, START, WEB, Authority, pem, uris, url_encoded

PARTNER = "spiffe://partner.example/ns/a/sa/b"
BEGIN = START.timestamp()

Cache = BoundedCache[tuple[int, str], CachedLeaf]


def verifier(
    *domains: TrustDomain,
    mode: Literal["required", "principal"] = "required",
    bundles: Mapping[str, Bundle] | None = None,
    generation: int = 1,
    cache: Cache | None = None,
) -> WorkloadVerifier:
    """A verifier for these trust domains, else for shop.example."""
    settings = IdentitySettings(trust_domains=domains or (TrustDomain("shop.example"),), certificate=mode)
    return WorkloadVerifier(settings, bundles or {}, generation, Cache(100, 1_000_000) if cache is None else cache)


def refusal(workloads: WorkloadVerifier, request: Request, now: float = NOW) -> str:
    """Why the request's workload is refused."""
    with pytest.raises(Refused) as refused:
        workloads.identify(request, now)
    assert refused.value.reason is Reason.WORKLOAD_REFUSED
    return refused.value.detail


def with_leaf(authority: Authority, san: str = WEB, principal: str | None = None, **leaf: timedelta) -> Request:
    """A request of a caller with a leaf."""
    lifetime = leaf.get("lifetime", timedelta(hours=1))
    certificate = url_encoded(authority.leaf(san, lifetime=lifetime))
    return Request(certificate=certificate, principal=san if principal is None else principal)


def test_a_leaf_that_agrees_with_the_principal_names_the_workload(authority: Authority) -> None:
    """The usual case."""
    workload = verifier().identify(with_leaf(authority), NOW)
    assert workload is not None
    assert workload.id == parse_spiffe_id(WEB)
    assert workload.certificate is not None
    assert workload.certificate.serial == "abc"


@pytest.mark.parametrize("mode", ["required", "principal"])
def test_without_certificate_and_principal_there_is_no_workload(mode: Literal["required", "principal"]) -> None:
    """ID-01: whatever headers claim."""
    request = Request(headers=(("x-forwarded-client-cert", f"URI={WEB}".encode()), ("x-workload", WEB.encode())))
    assert verifier(mode=mode).identify(request, NOW) is None


@pytest.mark.parametrize("principal", ["", "spiffe://shop.example/admin", WEB + "/", WEB.upper(), "CN=leaf", WEB + ","])
@pytest.mark.parametrize("mode", ["required", "principal"])
def test_a_principal_that_disagrees_is_refused(
    authority: Authority, principal: str, mode: Literal["required", "principal"]
) -> None:
    """ID-05: also a missing one, and also where principals are believed."""
    assert "disagree" in refusal(verifier(mode=mode), with_leaf(authority, principal=principal))


def test_a_principal_without_certificate_is_refused_with_a_hint() -> None:
    """Such a caller is not anonymous: rules that deny a workload would not see it."""
    for principal in (WEB, "CN=web", "web.shop.example"):
        assert "include_peer_certificate" in refusal(verifier(), Request(principal=principal))


def test_a_principal_alone_is_believed_where_the_operator_says_so() -> None:
    """With `certificate: principal`, the proxy's reading is enough."""
    workload = verifier(mode="principal").identify(Request(principal=WEB), NOW)
    assert workload == Workload(parse_spiffe_id(WEB), certificate=None)


@pytest.mark.parametrize(
    "principal",
    [
        "CN=web",
        "web.shop.example",
        "spiffe://shop.example",
        "spiffe://shop.example/a/../b",
        PARTNER,
        WEB + "\x00",
        WEB * 99,
    ],
)
def test_a_principal_alone_must_be_a_spiffe_id_of_a_known_domain(principal: str) -> None:
    """ID-06: the same grammar, and never a whole trust domain."""
    assert refusal(verifier(mode="principal"), Request(principal=principal))


def test_a_principal_alone_is_refused_where_a_bundle_asks_for_more() -> None:
    """What should be verified here is not believed."""
    workloads = verifier(TrustDomain("shop.example", verify=True), mode="principal")
    assert "no certificate" in refusal(workloads, Request(principal=WEB))


def test_a_foreign_trust_domain_is_refused(authority: Authority) -> None:
    """ID-07: only the domains that are configured, by their whole names."""
    for san in (PARTNER, "spiffe://shop.example.evil/a", "spiffe://xshop.example/a", "spiffe://example/a"):
        assert "trust domain" in refusal(verifier(), with_leaf(authority, san))


def test_a_bad_certificate_is_refused(authority: Authority) -> None:
    """ID-02, ID-10: the reason is the certificate's."""
    two = url_encoded(authority.leaf(uris(WEB, WEB)))
    assert "2 URI SANs" in refusal(verifier(), Request(certificate=two, principal=WEB))
    for text in ("x", "%", "é", "\udcff", "A" * 100_000):
        assert refusal(verifier(), Request(certificate=text, principal=WEB))


@pytest.mark.parametrize(
    ("now", "valid"),
    [
        (BEGIN - 0.001, False),
        (BEGIN, True),
        (BEGIN + 3600, True),
        (BEGIN + 3600.001, False),
        (0.0, False),
        (1e12, False),
    ],
)
def test_a_leaf_is_valid_in_its_time_only(authority: Authority, now: float, valid: bool) -> None:
    """ID-11: without skew, and on every request, also when the certificate is cached."""
    workloads = verifier()
    request = with_leaf(authority)
    assert workloads.identify(request, NOW) is not None
    if valid:
        assert workloads.identify(request, now) is not None
    else:
        assert "expired or is not valid yet" in refusal(workloads, request, now)
    assert workloads.identify(request, NOW) is not None


def test_a_leaf_is_verified_against_the_bundle_of_its_own_domain(
    authority: Authority, other_authority: Authority
) -> None:
    """ID-08: a CA speaks for its own trust domain alone."""
    domains = (TrustDomain("shop.example", verify=True), TrustDomain("partner.example", verify=True))
    bundles = {
        "shop.example": parse_bundle(pem(authority.certificate())),
        "partner.example": parse_bundle(pem(other_authority.certificate())),
    }
    workloads = verifier(*domains, bundles=bundles)
    assert workloads.identify(with_leaf(authority), NOW) is not None
    assert workloads.identify(with_leaf(other_authority, PARTNER), NOW) is not None
    assert "no valid CA" in refusal(workloads, with_leaf(authority, PARTNER))
    assert "no valid CA" in refusal(workloads, with_leaf(other_authority))


@pytest.mark.parametrize("bundles", [{}, {"shop.example": Bundle()}])
def test_an_empty_or_absent_bundle_refuses_every_identity(authority: Authority, bundles: dict[str, Bundle]) -> None:
    """ID-12: no CA, nobody."""
    workloads = verifier(TrustDomain("shop.example", verify=True), bundles=bundles)
    assert "no valid CA" in refusal(workloads, with_leaf(authority))


def test_a_ca_must_be_valid_now(authority: Authority) -> None:
    """A leaf does not outlive its CA, unless a renewed one is in the bundle."""
    request = with_leaf(authority, lifetime=timedelta(days=3))
    domain = TrustDomain("shop.example", verify=True)
    first, second = authority.certificate(), authority.certificate(start=START + timedelta(days=1, hours=1))
    one = verifier(domain, bundles={"shop.example": parse_bundle(pem(first))})
    both = verifier(domain, bundles={"shop.example": parse_bundle(pem(first, second))})
    day = 86400.0
    for workloads in (one, both):
        assert workloads.identify(request, BEGIN + day) is not None
        assert "no valid CA" in refusal(workloads, request, BEGIN + day + 1)
    assert "no valid CA" in refusal(one, request, BEGIN + 1.5 * day)
    assert both.identify(request, BEGIN + 1.5 * day) is not None


def test_a_certificate_is_read_once(authority: Authority) -> None:
    """The same certificate gives the same object, and a refused one is remembered too."""
    cache = Cache(100, 1_000_000)
    workloads = verifier(cache=cache)
    request = with_leaf(authority)
    assert workloads.identify(request, NOW) is workloads.identify(request, NOW)
    bad = Request(certificate="x", principal=WEB)
    assert refusal(workloads, bad) == refusal(workloads, bad)
    assert len(cache) == 2


def test_an_entry_of_another_generation_is_not_used(authority: Authority) -> None:
    """ID-12: a bundle that becomes empty counts at once, also for cached certificates."""
    cache = Cache(100, 1_000_000)
    domain = TrustDomain("shop.example", verify=True)
    bundle = parse_bundle(pem(authority.certificate()))
    request = with_leaf(authority)
    assert verifier(domain, bundles={"shop.example": bundle}, cache=cache).identify(request, NOW) is not None
    assert "no valid CA" in refusal(verifier(domain, generation=2, cache=cache), request)
    other_domain = verifier(TrustDomain("other.example"), generation=3, cache=cache)
    assert "trust domain" in refusal(other_domain, request)
    assert (
        verifier(domain, bundles={"shop.example": bundle}, generation=4, cache=cache).identify(request, NOW) is not None
    )
