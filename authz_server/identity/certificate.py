"""The caller's leaf certificate as an X509-SVID (X509-SVID standard, sections 2 to 5)."""

import base64
import re
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Struct

from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id
from authz_server.model import Certificate, SpiffeId

MAX_CERTIFICATE_CHARACTERS = 16 * 1024
"""Of the URL-encoded PEM form."""

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises where a certificate's parts, which it reads when asked for them, are not what they claim."""

ExtensionValue = TypeVar("ExtensionValue", bound=x509.ExtensionType)

_URL_ENCODED = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})++", re.ASCII)
_PEM = re.compile(
    rb"-----BEGIN CERTIFICATE-----\n((?:[A-Za-z0-9+/]+\n)*[A-Za-z0-9+/]+={0,2})\n-----END CERTIFICATE-----\n?"
)


class InvalidCertificate(ValueError):
    """A certificate that identifies no workload; the message says why, for operators."""


class Leaf(Struct, frozen=True):
    """A leaf certificate of the right shape; neither its times nor its issuer have been looked at."""

    id: SpiffeId
    certificate: Certificate
    x509: x509.Certificate


def parse_leaf(text: str) -> Leaf:
    """Read a URL-encoded PEM text that holds exactly one leaf certificate. Raises InvalidCertificate."""
    certificate = _load(_der(text))
    try:
        _check_leaf(certificate)
        identity = _spiffe_id(certificate)
        described = _described(certificate)
    except InvalidCertificate:
        raise
    except UNREADABLE as error:
        raise InvalidCertificate("the certificate's extensions cannot be read") from error
    return Leaf(identity, described, certificate)


def _der(text: str) -> bytes:
    if len(text) > MAX_CERTIFICATE_CHARACTERS:
        raise InvalidCertificate(f"the certificate is longer than {MAX_CERTIFICATE_CHARACTERS} characters")
    if not _URL_ENCODED.fullmatch(text):
        raise InvalidCertificate("the certificate is not URL-encoded text")
    match = _PEM.fullmatch(unquote_to_bytes(text))
    if match is None:
        raise InvalidCertificate("the certificate is not exactly one PEM block of type CERTIFICATE")
    try:
        return base64.b64decode(match[1].replace(b"\n", b""), validate=True)
    except ValueError as error:
        raise InvalidCertificate("the certificate's PEM block is not base64") from error


def _load(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE as error:
        raise InvalidCertificate("the certificate is not X.509 in DER") from error


def find_extension(extensions: x509.Extensions, kind: type[ExtensionValue]) -> x509.Extension[ExtensionValue] | None:
    """The extension of this kind; None where there is none."""
    try:
        return extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _check_leaf(certificate: x509.Certificate) -> None:
    """X509-SVID sections 4.1, 4.3 and 4.4, and RFC 5280 section 4.2 on critical extensions."""
    extensions = certificate.extensions
    for extension in extensions:
        if extension.critical and isinstance(extension.value, x509.UnrecognizedExtension):
            raise InvalidCertificate("the certificate has a critical extension that is not known")
    basic = find_extension(extensions, x509.BasicConstraints)
    if basic is not None and basic.value.ca:
        raise InvalidCertificate("the certificate is a CA's")
    usage = find_extension(extensions, x509.KeyUsage)
    if usage is None or not usage.critical or not usage.value.digital_signature:
        raise InvalidCertificate("the certificate has no critical keyUsage with digitalSignature")
    if usage.value.key_cert_sign or usage.value.crl_sign:
        raise InvalidCertificate("the certificate may sign certificates or CRLs, so it is no leaf")
    extended = find_extension(extensions, x509.ExtendedKeyUsage)
    if extended is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in extended.value:
        raise InvalidCertificate("the certificate's extendedKeyUsage does not include clientAuth")


def _spiffe_id(certificate: x509.Certificate) -> SpiffeId:
    """The one URI SAN; other types of names never count (X509-SVID section 2)."""
    names = find_extension(certificate.extensions, x509.SubjectAlternativeName)
    uris = [] if names is None else names.value.get_values_for_type(x509.UniformResourceIdentifier)
    if names is None or len(uris) != 1:
        raise InvalidCertificate(f"the certificate has {len(uris)} URI SANs, and an X509-SVID has exactly one")
    if not names.critical and not list(certificate.subject):
        raise InvalidCertificate("the certificate has no subject, and its SAN extension is not critical")
    try:
        identity = parse_spiffe_id(uris[0])
    except InvalidSpiffeId as error:
        raise InvalidCertificate(f"the certificate's URI SAN is not acceptable: {error}") from error
    if not identity.segments:
        raise InvalidCertificate("the certificate's SPIFFE ID is that of a whole trust domain, without a path")
    return identity


def _described(certificate: x509.Certificate) -> Certificate:
    if certificate.serial_number <= 0:
        raise InvalidCertificate("the certificate's serial number is not positive")
    return Certificate(
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )
