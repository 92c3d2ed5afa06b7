"""A strict reader of compact JWS (RFC 7515 section 7.1): what it returns has one reading, and is not yet verified.

It stands before any cryptography, so that no library has to be trusted with odd input.
"""

import base64
import re
from typing import Any

from msgspec import Struct

from authz_server.errors import Reason, Refused
from authz_server.identity.strict_json import read_object

MAX_TOKEN_BYTES = 16 * 1024
MAX_HEADER_BYTES = 2 * 1024

_CHARACTER = "[A-Za-z0-9_-]"
# Canonical base64url without padding: the bits that no byte needs are zero (RFC 4648 section 3.5).
_PART = rf"((?:{_CHARACTER}{{4}})*+(?:{_CHARACTER}[AQgw]|{_CHARACTER}{{2}}[AEIMQUYcgkosw048])?)"
_TOKEN = re.compile(rf"{_PART}\.{_PART}\.{_PART}", re.ASCII)


class ParsedToken(Struct, frozen=True):
    """A token taken apart; nothing in it is proved."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def strict_parse(token: str) -> ParsedToken:
    """Take a token apart. Raises Refused (`token_invalid`) on anything that is not exactly a signed JWT."""
    try:
        return read_jws(token, MAX_TOKEN_BYTES)
    except ValueError as error:
        raise Refused(Reason.TOKEN_INVALID, f"the token is not acceptable: {error}") from error


def read_jws(text: str, max_bytes: int, header: dict[str, Any] | None = None) -> ParsedToken:
    """Take a signed JWT apart; `header` is what its first part is known to hold.

    Raises ValueError on anything else, in words without the input.
    """
    if len(text) > max_bytes:
        raise ValueError(f"it is longer than {max_bytes} bytes")
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise ValueError("it is not three parts of canonical base64url")
    header_part, claims_part, signature_part = match.groups()
    if header is None:
        header_bytes = _decoded(header_part)
        if len(header_bytes) > MAX_HEADER_BYTES:
            raise ValueError(f"its header is longer than {MAX_HEADER_BYTES} bytes")
        header = _json_object(header_bytes, "header")
    signature = _decoded(signature_part)
    if not signature:
        raise ValueError("it has no signature")
    return ParsedToken(
        header=header,
        claims=_json_object(_decoded(claims_part), "payload"),
        signing_input=f"{header_part}.{claims_part}".encode(),
        signature=signature,
    )


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _json_object(data: bytes, place: str) -> dict[str, Any]:
    try:
        return read_object(data)
    except ValueError as error:
        raise ValueError(f"its {place} cannot be read: {error}") from error
