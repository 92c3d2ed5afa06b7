"""Who may call Check over mTLS."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from authz_server.dev.ca import DevelopmentCa, Svid, create_ca
from authz_server.worker.peers import CALLERS, Peers

ENVOY = "spiffe://shop.example/envoy/edge"
CLIENTS = ("spiffe://shop.example/envoy/**",)
NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.fixture(name="ca", scope="module")
def _ca() -> DevelopmentCa:
    return create_ca("shop.example")


def pem(svid: Svid) -> bytes:
    """The certificate as the handshake tells it."""
    return svid.certificate_pem.encode()


def peers(*clients: str, at: datetime = NOW) -> Peers:
    """Peers at a time."""
    return Peers(clients or CLIENTS, at.timestamp)


def test_a_named_identity_may_call(ca: DevelopmentCa) -> None:
    """By a pattern, again and again."""
    named, certificate = peers(), pem(ca.issue(ENVOY, start=NOW))
    assert [named.may_call(certificate) for _ in range(2)] == [True, True]


@pytest.mark.parametrize(
    "identity", ["spiffe://shop.example/web", "spiffe://shop.example/envoy", "spiffe://evil.example/envoy/edge"]
)
def test_another_identity_may_not(ca: DevelopmentCa, identity: str) -> None:
    """Whoever signed it."""
    assert not peers().may_call(pem(ca.issue(identity, start=NOW)))


def test_a_certificate_can_be_named_by_its_fingerprint(ca: DevelopmentCa) -> None:
    """For proxies without a SPIFFE ID; another certificate of the same name does not fit."""
    first, second = (ca.issue("spiffe://shop.example/a", start=NOW) for _ in range(2))
    fingerprint = x509.load_pem_x509_certificate(pem(first)).fingerprint(SHA256()).hex()
    named = peers(f"sha256:{fingerprint}")
    assert named.may_call(pem(first))
    assert not named.may_call(pem(second))


def test_a_certificate_with_two_identities_may_not(ca: DevelopmentCa) -> None:
    """X509-SVID section 2: exactly one URI SAN."""
    assert not peers().may_call(pem(ca.issue(ENVOY, "spiffe://shop.example/web", start=NOW)))


def test_a_certificate_may_not_outlive_itself(ca: DevelopmentCa) -> None:
    """ID-11: the connection may be older than the certificate's end."""
    certificate = pem(ca.issue(ENVOY, start=NOW, lifetime=timedelta(hours=1)))
    assert peers(at=NOW + timedelta(minutes=59)).may_call(certificate)
    assert not peers(at=NOW + timedelta(minutes=61)).may_call(certificate)


NOT_ASN1 = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("certificate", [None, b"", b"nonsense", NOT_ASN1])
def test_what_is_no_certificate_may_not(certificate: bytes | None) -> None:
    """Nobody is let in by mistake."""
    assert not peers().may_call(certificate)


def test_what_is_remembered_is_bounded(ca: DevelopmentCa) -> None:
    """However many certificates there are, old ones are judged again in the same way."""
    named = peers()
    certificates = [pem(ca.issue(ENVOY, start=NOW + timedelta(seconds=n))) for n in range(3)]
    for number in range(1000):
        named.may_call(b"junk %d" % number)
    assert all(named.may_call(certificate) for certificate in certificates)


def test_certificates_that_are_remembered_are_bounded_in_bytes() -> None:
    """However long the chains of a client CA may be."""
    known = peers()
    for number in range(CALLERS.entries):
        assert not known.may_call(b"%d" % number + b"x" * 50_000)
    assert known._known.bytes <= CALLERS.bytes
    assert len(known._known) < CALLERS.entries
