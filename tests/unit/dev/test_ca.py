"""The development CA issues certificates that are X509-SVIDs in every detail."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from authz_server.dev.ca import DevelopmentCa, create_ca, load_ca

WEB = "spiffe://shop.example/ns/front/sa/web"


@pytest.fixture(name="ca", scope="module")
def _ca() -> DevelopmentCa:
    return create_ca("shop.example")


def certificate(pem: str) -> x509.Certificate:
    """The certificate in a PEM text."""
    return x509.load_pem_x509_certificate(pem.encode())


def test_an_svid_has_exactly_one_uri_name_and_signs_handshakes_only(ca: DevelopmentCa) -> None:
    """X509-SVID sections 2 and 4: one URI SAN, digitalSignature, no CA, key usage critical."""
    leaf = certificate(ca.issue(WEB).certificate_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert list(names) == [x509.UniformResourceIdentifier(WEB)]
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not usage.value.crl_sign
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_an_svid_is_for_both_ends_of_a_connection(ca: DevelopmentCa) -> None:
    """X509-SVID section 4.4: extended key usage has both client and server authentication."""
    leaf = certificate(ca.issue(WEB).certificate_pem)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_an_svid_lives_for_an_hour_from_now(ca: DevelopmentCa) -> None:
    """The beginning lies a little back, because clocks differ."""
    start = datetime(2026, 3, 2, 10, tzinfo=UTC)
    svid = ca.issue(WEB, start=start)
    assert svid.not_after == start + timedelta(hours=1)
    assert start - timedelta(minutes=5) <= svid.not_before < start


def test_an_svid_is_signed_by_the_ca_and_matches_its_key(ca: DevelopmentCa) -> None:
    """Key and certificate belong together, and the bundle verifies the certificate."""
    svid = ca.issue(WEB)
    leaf, key = certificate(svid.certificate_pem), load_pem_private_key(svid.key_pem.encode(), None)
    leaf.verify_directly_issued_by(certificate(ca.bundle_pem))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert leaf.public_key() == key.public_key()


def test_no_two_certificates_share_a_serial_or_a_key(ca: DevelopmentCa) -> None:
    """Renewing makes a new key."""
    first, second = ca.issue(WEB), ca.issue(WEB)
    assert certificate(first.certificate_pem).serial_number != certificate(second.certificate_pem).serial_number
    assert first.key_pem != second.key_pem


def test_the_ca_says_what_it_is_for(ca: DevelopmentCa) -> None:
    """Whoever looks at a certificate sees that it is for development, and of which trust domain."""
    own = certificate(ca.bundle_pem)
    assert "DEVELOPMENT ONLY" in own.subject.rfc4514_string()
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier("spiffe://shop.example")]
    assert own.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_a_written_ca_is_read_back(ca: DevelopmentCa, tmp_path: Path) -> None:
    """What one command made, the next one uses; the key is for its owner alone."""
    ca.write(tmp_path)
    again = load_ca(tmp_path)
    assert again.bundle_pem == ca.bundle_pem
    certificate(again.issue(WEB).certificate_pem).verify_directly_issued_by(certificate(ca.bundle_pem))
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600


def test_where_there_is_no_ca_none_is_read(tmp_path: Path) -> None:
    """The caller decides whether to make one."""
    with pytest.raises(FileNotFoundError):
        load_ca(tmp_path)
