"""Certificates for tests: right ones, and wrong ones of every kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NOW = START.timestamp() + 60
WEB = "spiffe://shop.example/ns/front/sa/web"

Extension = tuple[x509.ExtensionType, bool]


def url_encoded(certificate: x509.Certificate) -> str:
    """The form in which a proxy sends a certificate."""
    return quote(pem(certificate).decode(), safe="")


def pem(*certificates: x509.Certificate) -> bytes:
    """PEM blocks, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def common_name(text: str) -> x509.Name:
    """A subject with a CN alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def key_usage(*usages: str) -> x509.KeyUsage:
    """The keyUsage extension with these bits."""
    signing = ("digital_signature", "content_commitment", "key_cert_sign", "crl_sign")
    encryption = ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{bit: bit in usages for bit in signing + encryption})


def uris(*texts: str) -> x509.SubjectAlternativeName:
    """A SAN extension with URIs."""
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(text) for text in texts])


LEAF_USAGE: Extension = (key_usage("digital_signature"), True)
NO_CA: Extension = (x509.BasicConstraints(ca=False, path_length=None), True)
CA: Extension = (x509.BasicConstraints(ca=True, path_length=None), True)
CA_USAGE: Extension = (key_usage("key_cert_sign", "crl_sign"), True)


def leaf_extensions(san: x509.ExtensionType) -> list[Extension]:
    """What a good leaf has."""
    return [NO_CA, LEAF_USAGE, (san, False)]


@dataclass(frozen=True)
class Authority:
    """A CA that signs whatever it is given."""

    name: str
    key: ec.EllipticCurvePrivateKey
    leaf_key: ec.EllipticCurvePrivateKey

    def certificate(
        self, *, start: datetime = START, lifetime: timedelta = timedelta(days=1), extensions: Sequence[Extension] = ()
    ) -> x509.Certificate:
        """The CA's own certificate."""
        builder = self._builder(common_name(self.name), start, lifetime, extensions or (CA, CA_USAGE))
        return builder.public_key(self.key.public_key()).sign(self.key, hashes.SHA256())

    def leaf(
        self,
        san: x509.ExtensionType | str = WEB,
        *,
        extensions: Sequence[Extension] | None = None,
        subject: x509.Name | None = None,
        start: datetime = START,
        lifetime: timedelta = timedelta(hours=1),
        serial: int = 0x0ABC,
    ) -> x509.Certificate:
        """A leaf with one URI SAN, with another SAN extension, or with the given extensions alone."""
        if extensions is None:
            extensions = leaf_extensions(uris(san) if isinstance(san, str) else san)
        name = common_name("leaf") if subject is None else subject
        builder = self._builder(name, start, lifetime, extensions, serial)
        return builder.public_key(self.leaf_key.public_key()).sign(self.key, hashes.SHA256())

    def _builder(
        self,
        subject: x509.Name,
        start: datetime,
        lifetime: timedelta,
        extensions: Sequence[Extension],
        serial: int = 0x0ABC,
    ) -> x509.CertificateBuilder:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(common_name(self.name))
            .serial_number(serial)
            .not_valid_before(start)
            .not_valid_after(start + lifetime)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder
