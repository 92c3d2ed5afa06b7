"""Names in settings."""

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from authz_server.documents.invalid import InvalidValue
from authz_server.identity.spiffe import InvalidSpiffePattern, parse_spiffe_pattern
from authz_server.worker.messages import FINGERPRINT


def _spelled(pattern: str, message: str, hint: str = "") -> AfterValidator:
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise InvalidValue(message, hint=hint)
        return text

    return AfterValidator(check)


_NAME = "[a-z0-9][a-z0-9._-]{0,62}"
Name = Annotated[
    str,
    _spelled(_NAME, "a name has lower-case letters, digits, `.`, `_` and `-`, 63 at most"),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"}),
]
"""What policies call something."""

_HEADER = "[a-z0-9!#$%&'*+.^_`|~-]{1,128}"
HeaderName = Annotated[
    str,
    _spelled(_HEADER, "this is the name of a header, in lower case", "for example x-user"),
    WithJsonSchema({"type": "string", "pattern": f"^{_HEADER}$"}),
]
"""RFC 9110 section 5.1."""

_NAMESPACE = "[A-Za-z0-9_][A-Za-z0-9._/-]{0,127}"
Namespace = Annotated[
    str,
    _spelled(
        _NAMESPACE,
        "a namespace of metadata has letters, digits, `.`, `_`, `/` and `-`, 128 at most",
        "for example envoy.filters.http.jwt_authn",
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAMESPACE}$"}),
]
"""Of Envoy's dynamic metadata: by convention the name of the filter that writes it."""

_TRUST_DOMAIN = "[a-z0-9._-]{1,255}"
TrustDomainName = Annotated[
    str,
    _spelled(
        _TRUST_DOMAIN, "a trust domain has lower-case letters, digits, `.`, `_` and `-`", "for example shop.example"
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{_TRUST_DOMAIN}$"}),
]
"""SPIFFE-ID section 2.1."""

_MODE = "0[0-7]{3}"
FileMode = Annotated[
    str,
    _spelled(_MODE, "a file mode has four octal digits", 'for example "0660"'),
    WithJsonSchema({"type": "string", "pattern": f"^{_MODE}$"}),
]


def _spiffe_pattern(text: str) -> str:
    try:
        parse_spiffe_pattern(text)
    except InvalidSpiffePattern as error:
        raise InvalidValue(str(error), hint=error.hint, offset=error.offset) from None
    return text


SpiffePattern = Annotated[
    str,
    AfterValidator(_spiffe_pattern),
    WithJsonSchema({"type": "string", "pattern": "^spiffe://", "examples": ["spiffe://shop.example/envoy/**"]}),
]
"""A SPIFFE ID or pattern."""


def _client(text: str) -> str:
    if text.startswith(FINGERPRINT):
        if re.fullmatch("[0-9a-f]{64}", text.removeprefix(FINGERPRINT)) is None:
            raise InvalidValue(f"`{FINGERPRINT}` is followed by 64 lower-case hexadecimal digits")
        return text
    return _spiffe_pattern(text)


ClientName = Annotated[
    str,
    AfterValidator(_client),
    WithJsonSchema(
        {"type": "string", "pattern": f"^(spiffe://|{FINGERPRINT})", "examples": ["spiffe://shop.example/envoy/**"]}
    ),
]
"""Who may call Check: a SPIFFE ID or pattern, or a certificate by its fingerprint."""


_INPUT = (
    r"request\.(headers|header_values)\[(\*|[a-z0-9!#$%&'*+.^_`|~-]+)\]|request\.query\[[^\]]+\]"
    r"|user\.claims(\[\*\]|\.[^\s\[\]]+)|user\.(scopes|roles|groups)"
    r"|body(\[[^\]]+\]|\.[^\s\[\]]+)|metadata\[[^\]]+\](\.[^\s\[\]]+)?"
)
InputName = Annotated[
    str,
    _spelled(_INPUT, "this is no input of decisions", "for example request.headers[x-api-key], or user.claims.email"),
    WithJsonSchema({"type": "string", "pattern": f"^({_INPUT})$", "examples": ["request.headers[x-api-key]"]}),
]
"""What a rule can read and a record can show: a misspelt one would leave a secret in the open."""
