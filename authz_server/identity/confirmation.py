"""To whose key a token is bound (`cnf`, RFC 7800)."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from authz_server.errors import Reason, Refused

CERTIFICATE_HASH = "x5t#S256"
# 32 bytes in canonical base64url: the last character has two bits that no byte needs.
_SHA256 = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)


def certificate_bound_to(claims: Mapping[str, Any]) -> str | None:
    """SHA-256 of the certificate that must come with the token, lower-case hexadecimal; None for a token of anybody.

    RFC 8705 section 3.1. Raises Refused (`token_invalid`) for every other way of binding: nothing could prove it here.
    """
    if "cnf" not in claims:
        return None
    confirmation = claims["cnf"]
    # RFC 7800 section 3.1: what is not understood must not be passed over.
    if not isinstance(confirmation, dict) or list(confirmation) != [CERTIFICATE_HASH]:
        raise _invalid("it is bound to a key (`cnf`) in a way that cannot be proved here")
    digest = confirmation[CERTIFICATE_HASH]
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise _invalid(f"its `{CERTIFICATE_HASH}` is no SHA-256")
    return base64.urlsafe_b64decode(digest + "=").hex()


def check_certificate(bound_to: str, fingerprint: str | None) -> None:
    """Refuse a token that is bound to another certificate than the caller's; None is a caller without one.

    Raises Refused (`token_invalid`).
    """
    if fingerprint != bound_to:
        raise _invalid("it is bound to a certificate (`cnf`) that the caller did not show")


def _invalid(fault: str) -> Refused:
    return Refused(Reason.TOKEN_INVALID, f"the token is not acceptable: {fault}")
