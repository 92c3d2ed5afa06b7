"""What the SVIDs of one trust domain are verified with: CA certificates, and keys for JWT-SVIDs.

X509-SVID standard sections 3.2 and 5.1; SPIFFE Trust Domain and Bundle standard section 4.
"""

import base64
import binascii
import re
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from msgspec import Struct

from authz_server.identity.certificate import UNREADABLE, find_extension
from authz_server.identity.keys import KeySet, usable_keys
from authz_server.identity.strict_json import read_object

MAX_BUNDLE_BYTES = 1024 * 1024
MAX_CERTIFICATES = 100
MAX_BUNDLE_KEYS = 200
MAX_HINT_S = 1e9

_BLOCK = re.compile(
    rb"^-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+^-----END CERTIFICATE-----\s*?$", re.MULTILINE
)
_STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class InvalidBundle(ValueError):
    """A document that is no bundle."""


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
    """Who may issue SVIDs of one trust domain; without anybody, none is good."""

    authorities: tuple[Authority, ...] = ()
    """The CAs of X.509-SVIDs."""
    keys: KeySet = KeySet()
    """The keys of JWT-SVIDs."""
    refresh_hint_s: float | None = None
    """How often its publisher would like it to be fetched."""

    @property
    def usable(self) -> bool:
        """Whether there is anything to verify with."""
        return bool(self.authorities or self.keys.keys)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was said about keys that are left out."""
        return self.keys.warnings

    def issuers_of(self, leaf: x509.Certificate) -> tuple[Period, ...]:
        """The periods of those CAs that issued the leaf directly; the leaf is good while one of them is valid."""
        return tuple([authority.period for authority in self.authorities if _issued(authority.certificate, leaf)])


def parse_bundle(document: bytes) -> Bundle:
    """Read PEM certificates, or a SPIFFE bundle in JSON; an empty text is an empty bundle.

    Raises InvalidBundle: one bad certificate makes the whole bundle bad, so that nothing is lost in silence.
    """
    return parse_spiffe_bundle(document) if document.lstrip()[:1] == b"{" else _parse_pem(document)


def parse_spiffe_bundle(document: bytes) -> Bundle:
    """Read a SPIFFE bundle, a JWK Set (SPIFFE Trust Domain and Bundle standard section 4). Raises InvalidBundle.

    Keys of JWT-SVIDs that cannot be used are left out with a warning each.
    """
    if len(document) > MAX_BUNDLE_BYTES:
        raise InvalidBundle(f"the bundle is larger than {MAX_BUNDLE_BYTES} bytes")
    try:
        content = read_object(document)
    except ValueError as error:
        raise InvalidBundle(f"the bundle cannot be read: {error}") from error
    entries = content.get("keys")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidBundle("the bundle has no list `keys` of JSON objects")
    if len(entries) > MAX_BUNDLE_KEYS:
        raise InvalidBundle(f"the bundle has more than {MAX_BUNDLE_KEYS} keys")
    # Section 4.2.2: what is for something else, or does not say for what, is not for us.
    certificates = [entry for entry in entries if entry.get("use") == "x509-svid"]
    keys = [entry for entry in entries if entry.get("use") == "jwt-svid"]
    return Bundle(
        tuple([_authority_of(entry, number) for number, entry in enumerate(certificates, 1)]),
        usable_keys(keys, use="jwt-svid"),
        _refresh_hint(content),
    )


def _refresh_hint(content: dict[str, Any]) -> float | None:
    """Section 4.1.2, in seconds; one that is no number of seconds counts as absent."""
    hint = content.get("spiffe_refresh_hint")
    return float(hint) if isinstance(hint, int) and not isinstance(hint, bool) and 0 < hint <= MAX_HINT_S else None


def _authority_of(entry: dict[str, Any], number: int) -> Authority:
    """X509-SVID standard section 6.1: `x5c` holds exactly one certificate."""
    chain = entry.get("x5c")
    if not isinstance(chain, list) or len(chain) != 1 or not isinstance(chain[0], str):
        raise InvalidBundle(f"certificate {number} of the bundle is not one certificate in `x5c`")
    try:
        return _checked(x509.load_der_x509_certificate(base64.b64decode(chain[0], validate=True)), number)
    except (binascii.Error, *UNREADABLE) as error:
        raise InvalidBundle(f"certificate {number} of the bundle cannot be read") from error


def _parse_pem(pem: bytes) -> Bundle:
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
    except UNREADABLE as error:
        raise InvalidBundle(f"certificate {number} of the bundle cannot be read") from error
    return _checked(certificate, number)


def _checked(certificate: x509.Certificate, number: int) -> Authority:
    """The certificate as a CA's. Raises InvalidBundle."""
    try:
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
