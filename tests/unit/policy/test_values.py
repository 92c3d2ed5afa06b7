"""Values that are put into another form; the wording of errors about them is asserted with those of policies."""

import pytest
from pydantic import TypeAdapter, ValidationError

from authz_server.policy.values import HeaderName, Method, Network, PathPrefix, Upgrade


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_gets_its_length(text: str, expected: str) -> None:
    """An address is a network of one."""
    assert TypeAdapter(Network).validate_python(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "10/8",
        "010.0.0.0/8",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
    ],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    """Also one with host bits, of which nobody knows which part was meant."""
    with pytest.raises(ValidationError):
        TypeAdapter(Network).validate_python(text)


@pytest.mark.parametrize(("text", "expected"), [("X-User", "x-user"), ("authorization", "authorization")])
def test_names_of_headers_have_no_case(text: str, expected: str) -> None:
    """They are compared and sent in lower case."""
    assert TypeAdapter(HeaderName).validate_python(text) == expected


def test_protocols_to_upgrade_to_have_no_case() -> None:
    """They are compared in lower case."""
    assert TypeAdapter(Upgrade).validate_python("WebSocket") == "websocket"


@pytest.mark.parametrize("text", ["/", "/api", "/api/v1"])
def test_a_literal_path_can_be_a_prefix(text: str) -> None:
    """`/` is all paths."""
    assert TypeAdapter(PathPrefix).validate_python(text) == text


@pytest.mark.parametrize("text", ["", "api", "/api/", "/{version}", "/api/**", "/a//b"])
def test_what_is_no_literal_path_cannot_be_a_prefix(text: str) -> None:
    """Neither can one that ends with a slash."""
    with pytest.raises(ValidationError):
        TypeAdapter(PathPrefix).validate_python(text)


@pytest.mark.parametrize(
    "text", ["GET", "M-SEARCH", "X_CUSTOM", "TRACK", "PURGE", "PROPFIND", "ORDERPATCH", "LINK", "QUERY", "SEARCH"]
)
def test_methods_are_upper_case_tokens(text: str) -> None:
    """As RFC 9110 has them; also such as no standard knows."""
    assert TypeAdapter(Method).validate_python(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "get",
        "GET /",
        "*",
        "ANY",
        "all",
        "GETT",
        "ET",
        "GTE",
        "PUTT",
        "PTACH",
        "OPTION",
        "GET|PUT",
        "P*",
        "A" + " " * 50_000,
    ],
)
def test_what_no_request_has_is_no_method(text: str) -> None:
    """Nor what is a letter more, less, other or swapped away from a standard method."""
    with pytest.raises(ValidationError):
        TypeAdapter(Method).validate_python(text)
