"""The body as conditions see it: any JSON value that has one reading."""

import re
from typing import Any

from authz_server.identity.strict_json import read_value
from authz_server.policy.conditions.values import Unusable
from authz_server.request.headers import Headers, HeaderUnusable

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 8259 section 11, RFC 6839 section 3.1.
_MEDIA_TYPE = re.compile(rf"application/(?:{_WORD}\+)?json\s*(?P<parameters>;.*)?", re.IGNORECASE | re.ASCII)
_PARAMETERS = re.compile(rf'(?:\s*;\s*(?:{_WORD}=(?:{_WORD}|"[^"\\]*")\s*)?)*', re.ASCII)
_CHARSET = re.compile(r";\s*charset=([^;]*)", re.IGNORECASE | re.ASCII)


class Incomplete(Unusable):
    """The body, of which not all came."""


def json_body(body: bytes, headers: Headers) -> Any:  # noqa: ANN401 - any value of JSON
    """The value that a whole body holds. Raises Unusable, also where others would not take it for JSON in UTF-8."""
    if not body:
        raise Unusable("there is no body")
    try:
        content_type = headers.single("content-type").strip()
    except HeaderUnusable as error:
        raise Unusable(f"the body may not be JSON: {error}") from error
    if not _is_json(content_type):
        raise Unusable("the body is not JSON in UTF-8 by its `content-type`")
    if headers.raw("content-encoding") not in (None, b"identity"):
        raise Unusable("the body has a `content-encoding`")
    try:
        return read_value(body)
    except ValueError as error:
        raise Unusable(f"the body cannot be read: {error}") from error


def _is_json(content_type: str) -> bool:
    found = _MEDIA_TYPE.fullmatch(content_type)
    parameters = "" if found is None else found["parameters"] or ""
    if found is None or not _PARAMETERS.fullmatch(parameters):
        return False
    return all(charset.strip().strip('"').lower() in ("utf-8", "utf8") for charset in _CHARSET.findall(parameters))
