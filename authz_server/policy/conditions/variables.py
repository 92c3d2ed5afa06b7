"""What conditions see, in words: for editors, who show it where a condition is written."""

from typing import NamedTuple


class Variable(NamedTuple):
    """A name that expressions can read."""

    name: str
    type: str
    """As docs/conditions.md has it: `string`, `list of string`, `map of list of string`, `any` …"""
    example: str
    """An expression of type bool with it."""


VARIABLES = (
    Variable("request.method", "string", 'request.method == "GET"'),
    Variable("request.host", "string", 'request.host == "orders.shop.example"'),
    Variable("request.path", "string", 'request.path.startsWith("/orders/")'),
    Variable("request.protocol", "string", 'request.protocol == "HTTP/2"'),
    Variable("request.is_grpc", "bool", "request.is_grpc"),
    Variable("request.id", "string", 'request.id != ""'),
    Variable("request.headers", "map of string", '"x-team" in request.headers && request.headers["x-team"] == "blue"'),
    Variable(
        "request.header_values",
        "map of lists of string",
        '"x-team" in request.header_values && "blue" in request.header_values["x-team"]',
    ),
    Variable("request.query", "map of lists of string", '"mode" in request.query && "debug" in request.query["mode"]'),
    Variable("path", "map of string", "path.order_id == user.subject"),
    Variable("workload.id", "string", 'has_workload && workload.id == "spiffe://shop.example/ns/front/sa/web"'),
    Variable("workload.trust_domain", "string", 'has_workload && workload.trust_domain == "shop.example"'),
    Variable("workload.segments", "list of string", 'has_workload && workload.segments[1] == "front"'),
    Variable("user.issuer", "string", 'has_user && user.issuer == "corp"'),
    Variable("user.subject", "string", 'has_user && user.subject == "ann"'),
    Variable("user.scopes", "list of string", 'has_user && "orders:read" in user.scopes'),
    Variable("user.roles", "list of string", 'has_user && "support" in user.roles'),
    Variable("user.groups", "list of string", 'has_user && "support" in user.groups'),
    Variable("user.expires", "timestamp", 'has_user && user.expires - now < duration("1h")'),
    Variable("user.actor", "string", 'has_user && user.actor == ""'),
    Variable("user.claims", "map", "has_user && has(user.claims.level) && user.claims.level >= 3"),
    Variable("client.ip", "string", 'client.ip == "192.0.2.7"'),
    Variable("certificate.serial", "string", 'certificate.serial == "1f2e"'),
    Variable("certificate.fingerprint", "string", 'certificate.fingerprint.startsWith("9f86d0")'),
    Variable("certificate.not_before", "timestamp", 'now - certificate.not_before < duration("24h")'),
    Variable("certificate.not_after", "timestamp", 'certificate.not_after - now > duration("1h")'),
    Variable("destination.host", "string", 'destination.host == "10.1.2.3"'),
    Variable("destination.port", "int", "destination.port == 8443"),
    Variable("grpc.service", "string", 'request.is_grpc && grpc.service == "orders.v1.Refunds"'),
    Variable("grpc.method", "string", 'request.is_grpc && grpc.method == "Create"'),
    Variable("body", "any", "has_body && has(body.amount) && body.amount > 5"),
    Variable("metadata", "map", 'metadata["envoy.filters.http.jwt_authn"].tier == "gold"'),
    Variable("now", "timestamp", 'now.getHours("Europe/Zurich") >= 8'),
    Variable("has_user", "bool", "has_user"),
    Variable("has_workload", "bool", "has_workload"),
    Variable("has_body", "bool", "!has_body"),
)
"""In the order of docs/conditions.md."""


def as_markdown() -> str:
    """A table of all variables, with the two functions of our own."""
    rows = "".join(f"| `{name}` | {kind} | `{_in_a_cell(example)}` |\n" for name, kind, example in VARIABLES)
    return (
        f"It can read:\n\n| variable | type | for example |\n|---|---|---|\n{rows}\n"
        '`workload.within("spiffe://shop.example/**")` and `client.within("10.0.0.0/8")` take a pattern and a network.'
        "\n\nWhat is missing is an error: an allow rule then does not apply, and a deny rule denies. So ask first: "
        "`has_user && …`, `has(user.claims.level) && …`."
    )


def in_a_line() -> str:
    """The names alone, for editors that show plain text."""
    return f"It can read {', '.join(variable.name for variable in VARIABLES)}."


def _in_a_cell(text: str) -> str:
    return text.replace("|", r"\|")
