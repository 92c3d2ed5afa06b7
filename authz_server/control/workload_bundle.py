"""From the two forms in which the Workload API tells bundles to the one that workers read (SPIFFE's JSON)."""

import base64
import json
from collections.abc import Iterable
from typing import Any

from authz_server.identity.bundle import MAX_BUNDLE_BYTES, MAX_CERTIFICATES, InvalidBundle
from authz_server.identity.strict_json import read_object

_SEQUENCE, _LONG_FORM = 0x30, 0x80


def certificates_of(der: bytes) -> list[dict[str, Any]]:
    """The CA certificates, DER, that stand one after the other, as JWKs. Raises InvalidBundle."""
    if len(der) > MAX_BUNDLE_BYTES:
        raise InvalidBundle(f"the bundle is larger than {MAX_BUNDLE_BYTES} bytes")
    return [{"use": "x509-svid", "kty": "none", "x5c": [base64.b64encode(one).decode()]} for one in _elements(der)]


def keys_of(document: bytes) -> list[dict[str, Any]]:
    """The keys of JWT-SVIDs in a JWK Set, which need not say what they are for. Raises InvalidBundle."""
    if not document:
        return []
    try:
        keys = read_object(document).get("keys")
    except ValueError as error:
        raise InvalidBundle(f"the key set cannot be read: {error}") from error
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise InvalidBundle("the key set has no list `keys` of JSON objects")
    return [{**key, "use": "jwt-svid"} for key in keys if key.get("use", "jwt-svid") == "jwt-svid"]


def bundle_document(entries: Iterable[list[dict[str, Any]]]) -> bytes:
    """The bundle that has all these; the same bytes for the same entries."""
    return json.dumps({"keys": [entry for some in entries for entry in some]}).encode()


def _elements(der: bytes) -> list[bytes]:
    """The DER elements of a concatenation (X.690 section 8.1); whether each is a certificate is not looked at."""
    elements: list[bytes] = []
    start = 0
    while start < len(der):
        end = _end_of(der, start)
        if der[start] != _SEQUENCE or end > len(der):
            raise InvalidBundle("the bundle is not one whole certificate after the other")
        elements.append(der[start:end])
        if len(elements) > MAX_CERTIFICATES:
            raise InvalidBundle(f"the bundle has more than {MAX_CERTIFICATES} certificates")
        start = end
    return elements


def _end_of(der: bytes, start: int) -> int:
    """Where the element ends that starts there; beyond the end where it is cut."""
    length, content = (der[start + 1], start + 2) if start + 1 < len(der) else (1, start + 2)
    if length >= _LONG_FORM:
        octets = length - _LONG_FORM
        length, content = int.from_bytes(der[content : content + octets], "big"), content + octets
    return content + length
