"""Callers behind trusted proxies."""

from collections.abc import Mapping

import pytest

from authz_server.errors import Reason, Refused
from authz_server.identity.bundle import Bundle, parse_bundle
from authz_server.identity.cache import BoundedCache
from authz_server.identity.settings import ForwardedCallers, IdentitySettings, TrustDomain
from authz_server.identity.workload import WorkloadVerifier
from authz_server.identity.xfcc import MAX_BYTES, MAX_ELEMENTS, InvalidXfcc, parse_xfcc
from authz_server.model import Request, Workload
from tests.unit.identity.certificates import NOW, WEB, Authority, pem, url_encoded

EDGE, INNER = "spiffe://shop.example/envoy/edge", "spiffe://shop.example/envoy/inner"
LAST = "spiffe://shop.example/envoy/last"
ADMIN = "spiffe://shop.example/admin"
H = "a" * 64


def element(by: str, uri: str, **pairs: str) -> str:
    """What a proxy writes about its peer, as Envoy does: nothing is quoted."""
    return ";".join([f"By={by}", f"Hash={pairs.pop('Hash', H)}", *map("=".join, pairs.items()), f"URI={uri}"])


def identified(
    *headers: str,
    peer: str = EDGE,
    appended: bool = False,
    bundles: Mapping[str, Bundle] | None = None,
    certificate: str = "",
) -> Workload | None:
    """The workload of a request with these headers."""
    settings = IdentitySettings(
        trust_domains=(TrustDomain("shop.example", verify=bundles is not None),),
        certificate="required" if certificate else "principal",
        forwarded=ForwardedCallers(("spiffe://shop.example/envoy/*",), appended=appended),
    )
    verifier = WorkloadVerifier(settings, bundles or {}, 1, BoundedCache(100, 1_000_000))
    pairs = tuple([("x-forwarded-client-cert", header.encode()) for header in headers])
    return verifier.identify(Request(principal=peer, certificate=certificate, headers=pairs), NOW)


def name(workload: Workload | None) -> tuple[str, str | None] | None:
    """Who calls, and through whom."""
    return None if workload is None else (workload.id.text, workload.via)


def test_a_named_proxy_speaks_for_its_peer() -> None:
    """The caller is the one of whom it speaks; the proxy is on record."""
    assert name(identified(element(EDGE, WEB))) == (WEB, EDGE)


def test_a_chain_of_named_proxies_is_followed_to_the_caller() -> None:
    """Each element was written by the proxy that the next one is about."""
    assert name(identified(f"{element(INNER, WEB)},{element(EDGE, INNER)}")) == (WEB, EDGE)
    assert name(identified(element(INNER, WEB), element(EDGE, INNER))) == (WEB, EDGE)


def test_what_the_asking_proxy_appends_about_the_peer_is_taken_off() -> None:
    """It must be there, and be about the peer."""
    own = element("spiffe://shop.example/gate", EDGE)
    assert name(identified(f"{element(EDGE, WEB)},{own}", appended=True)) == (WEB, EDGE)
    assert identified(own, appended=True) is None
    for header in (element(EDGE, WEB), f"{own},{element(EDGE, WEB)}"):
        with pytest.raises(Refused, match="last element is not about the peer"):
            identified(header, appended=True)


def test_a_caller_without_a_certificate_behind_a_proxy_is_no_workload() -> None:
    """It does not become the proxy."""
    assert identified() is None


@pytest.mark.parametrize("appended", [True, False])
def test_nobody_else_is_listened_to(appended: bool) -> None:
    """A workload that is no named proxy is itself, whatever it sends, however wrong that is."""
    for header in (element(WEB, ADMIN), "nonsense"):
        assert name(identified(header, peer=WEB, appended=appended)) == (WEB, None)


@pytest.mark.parametrize(
    "evil",
    [
        f"{WEB},By={EDGE};Hash={H};URI={ADMIN}",
        f"{ADMIN},By={EDGE};Hash={H};URI={WEB}",
        f"{ADMIN},By={EDGE};Hash={H};URI={EDGE}",
        f"{ADMIN},By={EDGE};Hash={H};URI={INNER}",
        f"{ADMIN},By={INNER};Hash={H};URI={EDGE}",
        f"{ADMIN},By={INNER};Hash={H};URI={INNER}",
        f"{ADMIN};URI={WEB}",
        f"{ADMIN};DNS=evil.example",
        f"{ADMIN};Subject=evil",
        f"{ADMIN};",
        f"{ADMIN},By={INNER};Hash={H};URI={EDGE},By={EDGE};Hash={H};URI={INNER}",
        f"{ADMIN},By={INNER};Hash={H};URI={EDGE},By={LAST};Hash={H};URI={INNER},By={EDGE};Hash={H};URI={LAST}",
        f'{ADMIN},By="{EDGE}";Hash={H};URI="{INNER}"',
    ],
)
@pytest.mark.parametrize("appended", [True, False])
def test_a_name_in_a_certificate_cannot_forge_elements(evil: str, appended: bool) -> None:
    """Envoy writes the URI of a certificate as it is, commas included: none of them makes another caller."""
    header = element(EDGE, evil) + (f",{element('spiffe://shop.example/gate', EDGE)}" if appended else "")
    with pytest.raises(Refused) as refused:
        identified(header, appended=appended)
    assert refused.value.reason is Reason.WORKLOAD_REFUSED


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        ";",
        "By",
        f"By={EDGE}",
        f"Hash={H};URI={WEB}",
        f"By={EDGE};URI={WEB}",
        f"By={EDGE};Hash={H}",
        f"By={EDGE};Hash={H};URI=",
        f"By=;Hash={H};URI={WEB}",
        f"By={EDGE};Hash={H[1:]};URI={WEB}",
        f"By={EDGE};Hash={H.upper()};URI={WEB}",
        f"By={EDGE};Hash={H};URI={WEB};URI={WEB}",
        f"By={EDGE};By={EDGE};Hash={H};URI={WEB}",
        f"By={EDGE};Hash={H};URI={WEB};Else=1",
        f"by={EDGE};Hash={H};URI={WEB}",
        f"By={EDGE};Hash={H};URI={WEB};",
        f"By={EDGE};Hash={H};URI={WEB},",
        f",By={EDGE};Hash={H};URI={WEB}",
        f"By={EDGE};Hash={H}; URI={WEB}",
        f'By={EDGE};Hash={H};URI="{WEB}',
        f'By={EDGE};Hash={H};URI={WEB}"',
        f'By={EDGE};Hash={H};Subject="a\\";URI={WEB}',
        f"By={EDGE};Hash={H};URI={WEB}/",
        f"By={EDGE};Hash={H};URI={WEB}\u00e9",
        f"By={EDGE};Hash={H};URI=https://shop.example/",
        f"By={EDGE};Hash={H};URI={WEB};Subject=" + "a" * MAX_BYTES,
        ",".join([element(EDGE, WEB)] * (MAX_ELEMENTS + 1)),
    ],
)
def test_what_has_no_one_reading_is_refused(header: str) -> None:
    """Duplicate and unknown keys, missing ones, unbalanced quotes, too much."""
    with pytest.raises(InvalidXfcc):
        parse_xfcc(header.encode())


def test_quoted_values_hold_anything() -> None:
    """A subject has commas and escaped quotes."""
    subject = r'Subject="CN=\"a\",O=b;c\, d"'
    (only,) = parse_xfcc(f'By={EDGE};Hash={H};{subject};URI="{WEB}"'.encode())
    assert (only.id.text, only.fingerprint, only.by.text) == (WEB, H, EDGE)


def test_long_input_costs_linear_time() -> None:
    """Whatever is not closed is found out in one pass."""
    for text in ('By="' + "\\\\" * 8000, "A=;" * 5000, "a" * 16_000, 'A="' * 5000):
        with pytest.raises(InvalidXfcc):
            parse_xfcc(text.encode())


def test_a_forwarded_certificate_is_looked_at_as_if_it_had_come_itself(authority: Authority) -> None:
    """Hash, name, validity and the bundle of its trust domain must fit."""
    bundles = {"shop.example": parse_bundle(pem(authority.certificate()))}
    peer = url_encoded(authority.leaf(EDGE))
    leaf = authority.leaf(WEB)
    (fingerprint,) = [
        workload.certificate.fingerprint
        for workload in [identified(peer=WEB, certificate=url_encoded(leaf), bundles=bundles)]
        if workload is not None and workload.certificate is not None
    ]
    good = element(EDGE, WEB, Hash=fingerprint, Cert=f'"{url_encoded(leaf)}"')
    workload = identified(good, certificate=peer, bundles=bundles)
    assert name(workload) == (WEB, EDGE)
    assert workload is not None
    assert workload.certificate is not None
    bad = {
        "disagree": element(EDGE, WEB, Cert=f'"{url_encoded(leaf)}"'),
        "principal disagree": element(EDGE, ADMIN, Hash=fingerprint, Cert=f'"{url_encoded(leaf)}"'),
        "no certificate to verify": element(EDGE, WEB, Hash=fingerprint),
    }
    for fault, header in bad.items():
        with pytest.raises(Refused, match=fault):
            identified(header, certificate=peer, bundles=bundles)


@pytest.mark.parametrize("uri", ["spiffe://other.example/ns/a", "spiffe://shop.example"])
def test_callers_of_other_trust_domains_and_whole_domains_are_refused(uri: str) -> None:
    """The word of a proxy is not worth more than a certificate."""
    with pytest.raises(Refused):
        identified(element(EDGE, uri))
