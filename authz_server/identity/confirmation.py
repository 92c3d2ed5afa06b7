"""To whose key a token is bound (`cnf`, RFC 7800)."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from authz_server.errors import Reason, Refused

CERTIFICATE_HASH = "x5t#S256"
KEY_HASH = "jkt"
_PROVABLE = frozenset({CERTIFICATE_HASH, KEY_HASH})
# 32 bytes in canonical base64url: the last character has two bits that no byte needs.
_SHA256 = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)


class Binding(Struct, frozen=True):
    """What must be proved with each use of a token: everything that is not None."""

    certificate: str | None = None
    """SHA-256 of the certificate that must come with it, lower-case hexadecimal (RFC 8705 section 3.1)."""
    key: str | None = None
    """Thumbprint of the key by which a proof must be signed (RFC 9449 section 6)."""


def binding_of(claims: Mapping[str, Any]) -> Binding | None:
    """What a token is bound to; None for a token of anybody.

    Raises Refused (`token_invalid`) for every other way of binding: nothing could prove it here.
    """
    if "cnf" not in claims:
        return None
    confirmation = claims["cnf"]
    # RFC 7800 section 3.1: what is not understood must not be passed over.
    if not isinstance(confirmation, dict) or not set() < confirmation.keys() <= _PROVABLE:
        raise _invalid("it is bound to a key (`cnf`) in a way that cannot be proved here")
    for name, digest in confirmation.items():
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise _invalid(f"its `{name}` is no SHA-256")
    certificate = confirmation.get(CERTIFICATE_HASH)
    hexadecimal = None if certificate is None else base64.urlsafe_b64decode(certificate + "=").hex()
    return Binding(hexadecimal, confirmation.get(KEY_HASH))


def check_binding(binding: Binding | None, fingerprint: str | None, key: str | None) -> None:
    """Refuse a token whose binding the caller does not prove.

    `fingerprint` is that of the caller's certificate, `key` the thumbprint of the key of its DPoP proof; None is a
    caller without one. A proof makes no bearer token a bound one (RFC 9449 section 7.1). Raises Refused
    (`token_invalid`).
    """
    certificate, bound_key = (None, None) if binding is None else (binding.certificate, binding.key)
    if certificate is not None and fingerprint != certificate:
        raise _invalid("it is bound to a certificate (`cnf`) that the caller did not show")
    if key == bound_key:
        return
    if bound_key is None:
        raise _invalid("it came with the scheme `DPoP` and is not bound to a key (`cnf.jkt`)")
    if key is None:
        raise _invalid("it is bound to a key (`cnf.jkt`) and came without a proof, as a bearer token")
    raise _invalid("it is bound to another key (`cnf.jkt`) than that of the proof")


def _invalid(fault: str) -> Refused:
    return Refused(Reason.TOKEN_INVALID, f"the token is not acceptable: {fault}")
