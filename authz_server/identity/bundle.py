"""The CA certificates of one trust domain (X509-SVID standard, sections 3.2 and 5.1)."""

import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from msgspec import Struct

from authz_server.identity.certificate import UNREADABLE, find_extension

MAX_BUNDLE_BYTES = 1024 * 1024
MAX_CERTIFICATES = 100

_BLOCK = re.compile(
    rb"^-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+^-----END CERTIFICATE-----\s*?$", re.MULTILINE
)
_STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class InvalidBundle(ValueError):
    """A document that is not a list of CA certificates."""


class Period(Struct, frozen=True):
    """When a certificate is valid, both ends included; seconds since the epoch."""

    not_before: float
    not_after: float

    def includes(self, now: float) -> bool:
        """Whether the certificate is valid at this time; no skew is granted."""
        return self.not_before <= now <= self.not_after


class Authority(Struct, frozen=True):
    """A CA certificate."""

    certificate: x509.Certificate
    period: Period


class Bundle(Struct, frozen=True):
    """The CAs that may issue leaves of one trust domain; without any, none is good."""

    authorities: tuple[Authority, ...] = ()

    def issuers_of(self, leaf: x509.Certificate) -> tuple[Period, ...]:
        """The periods of those CAs that issued the leaf directly; the leaf is good while one of them is valid."""
        return tuple([authority.period for authority in self.authorities if _issued(authority.certificate, leaf)])


def parse_bundle(pem: bytes) -> Bundle:
    """Read PEM certificates, perhaps with comments between them; an empty text is an empty bundle.

    Raises InvalidBundle: one bad certificate makes the whole bundle bad, so that nothing is lost in silence.
    """
    if len(pem) > MAX_BUNDLE_BYTES:
        raise InvalidBundle(f"the bundle is larger than {MAX_BUNDLE_BYTES} bytes")
    blocks = _BLOCK.findall(pem)
    if len(blocks) != pem.count(b"-----BEGIN") or (not blocks and pem.strip()):
        raise InvalidBundle("the bundle has something other than whole PEM blocks of type CERTIFICATE")
    if len(blocks) > MAX_CERTIFICATES:
        raise InvalidBundle(f"the bundle has more than {MAX_CERTIFICATES} certificates")
    return Bundle(tuple([_authority(block, number) for number, block in enumerate(blocks, 1)]))


def _authority(block: bytes, number: int) -> Authority:
    try:
        certificate = x509.load_pem_x509_certificate(block)
        basic = find_extension(certificate.extensions, x509.BasicConstraints)
        usage = find_extension(certificate.extensions, x509.KeyUsage)
    except UNREADABLE as error:
        raise InvalidBundle(f"certificate {number} of the bundle cannot be read") from error
    if basic is None or not basic.value.ca or usage is None or not usage.value.key_cert_sign:
        raise InvalidBundle(f"certificate {number} of the bundle is not a CA's: it needs cA and keyCertSign")
    period = Period(certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())
    return Authority(certificate, period)


def _issued(authority: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        if authority.subject != leaf.issuer or not _is_strong(leaf):
            return False
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _is_strong(leaf: x509.Certificate) -> bool:
    """Not signed over MD5 or SHA-1; EdDSA has a hash of its own."""
    strength = leaf.signature_hash_algorithm
    return strength is None or isinstance(strength, _STRONG_HASHES)
