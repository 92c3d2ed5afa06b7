"""The kinds of text and number that policies are made of, each checked where it is written."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from authz_server.documents.invalid import InvalidValue
from authz_server.documents.suggest import did_you_mean, listing, quoted
from authz_server.identity.spiffe import InvalidSpiffeId, InvalidSpiffePattern, parse_spiffe_id, parse_spiffe_pattern
from authz_server.policy.findings import OF_RULES
from authz_server.policy.methods import checked_method
from authz_server.policy.patterns import Literal, parse_host_pattern, parse_path_template

# RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_NAME = re.compile(r"[a-z0-9-]+", re.ASCII)
_GRPC_SERVICE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_GRPC_METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CHALLENGE_WORD = re.compile(r"[!#-\[\]-~]+", re.ASCII)
COMMON_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# RFC 9110 section 7.6.1, and what frames a message.
_CONNECTION_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def is_name(text: str) -> bool:
    """Whether the text can name a service, a rule, a role or a folder."""
    return _NAME.fullmatch(text) is not None


def is_grpc_call(service: str, method: str) -> bool:
    """Whether policies can name a gRPC service and its method."""
    return _GRPC_SERVICE.fullmatch(service) is not None and _GRPC_METHOD.fullmatch(method) is not None


def settable_header(name: str) -> bool:
    """Whether an answer may set this header (lower case): it belongs neither to the connection nor to Envoy."""
    return name not in _CONNECTION_HEADERS and not name.startswith("x-envoy-")


def _name(text: str) -> str:
    if not is_name(text):
        proposal = re.sub(r"[^a-z0-9]+", "-", text.lower(), flags=re.ASCII).strip("-")
        hint = f"write {quoted(proposal)}" if proposal else "for example `orders`"
        raise InvalidValue(f"{quoted(text)} is no name: lower-case letters, digits and hyphens make one", hint=hint)
    return text


def _some_text(text: str) -> str:
    if not text.strip():
        raise InvalidValue("this is empty", hint="write its value, or remove it")
    return text


def _claim(name: str) -> str:
    _some_text(name)
    if _CONTROL.search(name):
        raise InvalidValue("the name of a claim holds a control character", hint="for example `realm_access.roles`")
    return name


def _authentication_class(text: str) -> str:
    # It stands in a list of words in quotes, in the challenge (RFC 9470 section 3).
    if not _CHALLENGE_WORD.fullmatch(text):
        message = "a value of `acr` has no spaces, quotes, backslashes, and nothing outside ASCII"
        raise InvalidValue(message, hint="for example `mfa`")
    return text


def _spiffe(text: str) -> str:
    try:
        parse_spiffe_pattern(text)
    except InvalidSpiffePattern as error:
        raise InvalidValue(str(error), offset=error.offset, hint=error.hint) from error
    return text


def _actor(text: str) -> str:
    return _spiffe(text) if text.lower().startswith("spiffe:") else _some_text(text)


def _trust_domain(text: str) -> str:
    try:
        identity = parse_spiffe_id(f"spiffe://{text}")
    except InvalidSpiffeId as error:
        raise InvalidValue(f"{quoted(text)} is no trust domain", hint="for example `shop.example`") from error
    if identity.segments:
        raise InvalidValue("a trust domain has no path", hint=f"write {quoted(identity.trust_domain)}")
    return text


def _network(text: str) -> str:
    example = "for example `10.1.0.0/16`"
    written, slash, length = text.partition("/")
    try:
        address, network = ip_address(written), ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidValue(f"{quoted(text)} is no network", hint=example) from error
    if "%" in text or (slash and not length.isdecimal()):
        raise InvalidValue(f"{quoted(text)} is no network", hint=example)
    if isinstance(address, IPv6Address) and address.ipv4_mapped and network.prefixlen >= 96:
        hint = f"write `{ip_network((address.ipv4_mapped, network.prefixlen - 96), strict=False)}`"
        raise InvalidValue("IPv4 addresses are compared as such, not as IPv6", hint=hint)
    if address != network.network_address:
        hint = f"write `{network}`, or `{address}` for the one address"
        raise InvalidValue(
            f"the address has bits that a network of length {network.prefixlen} does not have", hint=hint
        )
    return str(network)


def _path_template(text: str) -> str:
    parse_path_template(text)
    return text


def _path_prefix(text: str) -> str:
    template = parse_path_template(text)
    if template.rest or not all(isinstance(segment, Literal) for segment in template.segments):
        raise InvalidValue("a prefix is literal", hint="for example `/api`, which is everything below `/api` as well")
    if template.trailing_slash and template.segments:
        raise InvalidValue("a prefix ends without a slash", hint=f"write `{text.rstrip('/')}`")
    return text


def _host_pattern(text: str) -> str:
    parse_host_pattern(text)
    return text


def _header(text: str) -> str:
    name = text.lower()
    if not _TOKEN.fullmatch(name):
        hint = "pseudo-headers cannot be changed" if name.startswith(":") else "for example `x-user`"
        raise InvalidValue(f"{quoted(text)} is no name of a header", hint=hint)
    if name in _CONNECTION_HEADERS:
        raise InvalidValue(f"the header `{name}` belongs to the connection", hint="it cannot be changed by a rule")
    if name.startswith("x-envoy-"):
        raise InvalidValue(f"the header `{name}` belongs to Envoy", hint="it cannot be changed by a rule")
    return name


def _upgrade(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise InvalidValue(f"{quoted(text)} is no protocol to upgrade to", hint="for example `websocket`")
    return text.lower()


def _grpc_service(text: str) -> str:
    if not _GRPC_SERVICE.fullmatch(text):
        hint = "write it with its package and without slashes, such as `orders.v1.Refunds`"
        raise InvalidValue(f"{quoted(text)} is no name of a gRPC service", hint=hint)
    return text


def _grpc_method(text: str) -> str:
    if not _GRPC_METHOD.fullmatch(text):
        raise InvalidValue(f"{quoted(text)} is no name of a gRPC method", hint="for example `Create`")
    return text


def _finding_code(text: str) -> str:
    if text not in OF_RULES:
        hint = did_you_mean(text, OF_RULES, f"codes are {listing(OF_RULES)}")
        raise InvalidValue(f"no finding about a rule has the code {quoted(text)}", hint=hint)
    return text


Name = Annotated[
    str,
    AfterValidator(_name),
    WithJsonSchema(
        {"type": "string", "pattern": "^[a-z0-9-]+$", "description": "Lower-case letters, digits and hyphens."}
    ),
]
Text = Annotated[str, AfterValidator(_some_text), WithJsonSchema({"type": "string", "minLength": 1})]
Expression = Annotated[
    str,
    AfterValidator(_some_text),
    WithJsonSchema({"type": "string", "minLength": 1, "format": "cel", "description": "A CEL expression."}),
]
AuthenticationClass = Annotated[
    str, AfterValidator(_authentication_class), WithJsonSchema({"type": "string", "minLength": 1})
]
ClaimName = Annotated[str, AfterValidator(_claim), WithJsonSchema({"type": "string", "minLength": 1})]
SpiffePattern = Annotated[
    str,
    AfterValidator(_spiffe),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^spiffe://[a-z0-9._-]+/",
            "description": "A SPIFFE ID; `*` stands for one segment, a last `/**` for one or more.",
        }
    ),
]
ActorPattern = Annotated[
    str,
    AfterValidator(_actor),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "description": "Who acts for the user (`act` of the token): a SPIFFE ID or pattern, or an exact subject.",
        }
    ),
]
TrustDomain = Annotated[
    str, AfterValidator(_trust_domain), WithJsonSchema({"type": "string", "pattern": "^[a-z0-9._-]{1,255}$"})
]
Network = Annotated[
    str, AfterValidator(_network), WithJsonSchema({"type": "string", "description": "A network in CIDR notation."})
]
Method = Annotated[
    str,
    AfterValidator(checked_method),
    WithJsonSchema(
        {
            # The first is what editors propose.
            "anyOf": [{"enum": list(COMMON_METHODS)}, {"type": "string", "pattern": "^[^a-z\\s*|]+$"}],
            "description": "An HTTP method in upper case.",
        }
    ),
]
PathTemplate = Annotated[
    str,
    AfterValidator(_path_template),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^/",
            "description": "Literal segments, `{name}`, `{name:int}` or `{name:uuid}` for one segment, "
            "a last `/**` or `/{rest...}` for one or more.",
        }
    ),
]
PathPrefix = Annotated[str, AfterValidator(_path_prefix), WithJsonSchema({"type": "string", "pattern": "^/"})]
HostPattern = Annotated[
    str,
    AfterValidator(_host_pattern),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "description": "A host, `*.` and a host for any labels in front of it, or `*`; perhaps with a port.",
        }
    ),
]
HeaderName = Annotated[str, AfterValidator(_header), WithJsonSchema({"type": "string", "minLength": 1})]
Upgrade = Annotated[str, AfterValidator(_upgrade), WithJsonSchema({"type": "string", "examples": ["websocket"]})]
GrpcService = Annotated[str, AfterValidator(_grpc_service), WithJsonSchema({"type": "string", "minLength": 1})]
GrpcMethod = Annotated[str, AfterValidator(_grpc_method), WithJsonSchema({"type": "string", "minLength": 1})]
FindingCode = Annotated[str, AfterValidator(_finding_code), WithJsonSchema({"type": "string", "enum": list(OF_RULES)})]
Port = Annotated[int, Field(ge=1, le=65535)]
Scalar = str | int | float | bool
