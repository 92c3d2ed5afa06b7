"""A certificate authority for development only: it gives an identity to whoever asks, so nobody else may trust it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from authz_server.dev.files import write_file, write_secret

CA_LIFETIME = timedelta(days=30)
SVID_LIFETIME = timedelta(hours=1)
# Clocks of containers and virtual machines are rarely exact.
BACKDATE = timedelta(minutes=1)


class Svid(Struct, frozen=True):
    """An X509-SVID with its key, as PEM."""

    certificate_pem: str
    key_pem: str
    not_before: datetime
    not_after: datetime


class DevelopmentCa:
    """Signs X509-SVIDs of one trust domain with a key that lies in a file."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @property
    def bundle_pem(self) -> str:
        """What others verify the SVIDs with."""
        return _pem(self._certificate)

    @property
    def expires(self) -> datetime:
        """When its certificate, and with it every SVID, ends."""
        return self._certificate.not_valid_after_utc

    def issue(
        self,
        spiffe_id: str,
        *other_uris: str,
        dns_names: Sequence[str] = (),
        lifetime: timedelta = SVID_LIFETIME,
        start: datetime | None = None,
    ) -> Svid:
        """Issue a certificate; without other URIs it is an X509-SVID (X509-SVID sections 2 and 4)."""
        start = (start or datetime.now(UTC)).replace(microsecond=0)
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in (spiffe_id, *other_uris)]
        names += [x509.DNSName(name) for name in dns_names]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name("Development workload"))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - BACKDATE)
            .not_valid_after(start + lifetime)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Svid(_pem(certificate), _key_pem(key), certificate.not_valid_before_utc, certificate.not_valid_after_utc)

    def write(self, directory: Path) -> None:
        """Write `ca.pem` and `ca.key`; the key for the owner's eyes only."""
        write_secret(directory / "ca.key", _key_pem(self._key))
        write_file(directory / "ca.pem", self.bundle_pem)


def create_ca(trust_domain: str) -> DevelopmentCa:
    """Make a CA whose certificate carries the trust domain's SPIFFE ID (X509-SVID section 4.1)."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC).replace(microsecond=0)
    name = _name(f"DEVELOPMENT ONLY {trust_domain}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return DevelopmentCa(certificate, key)


def load_ca(directory: Path) -> DevelopmentCa:
    """Read what `DevelopmentCa.write` wrote. Raises FileNotFoundError, and ValueError where it is no CA of ours."""
    certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    key = load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{directory / 'ca.key'}: not a key that `authz dev ca` made")
    return DevelopmentCa(certificate, key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Either signs certificates, or makes signatures in a handshake (X509-SVID section 4.3)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
