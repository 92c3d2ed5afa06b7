"""In which form a denial is written."""

import pytest

from authz_server.model import BodyFormat
from authz_server.request.accept import MAX_ACCEPT_BYTES, denial_format

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "problem"),
        ("*/*", "problem"),
        ("application/json", "problem"),
        ("application/problem+json, text/html;q=0.9", "problem"),
        (BROWSER, "page"),
        ("TEXT/HTML", "page"),
        ("text/html;charset=utf-8;q=0.5, application/json;q=0.4", "page"),
        ("text/*;q=0.3", "page"),
        ("text/plain", "plain"),
        ("text/plain, text/html;q=0.2, */*;q=0.1", "plain"),
        ("text/html;q=0, text/plain;q=0.001", "plain"),
        ("image/png", "problem"),
        ("text/html;q=banana", "problem"),
        ("text/html;q=9", "problem"),
        (";;;,,,=", "problem"),
        ("text/html, " + "a" * MAX_ACCEPT_BYTES, "problem"),
    ],
)
def test_the_form_that_a_client_prefers_is_taken(accept: str, expected: BodyFormat) -> None:
    """The highest quality wins, a problem where it makes no difference; what cannot be read counts for nothing."""
    assert denial_format([("accept", accept.encode())]) == expected


def test_several_accept_headers_are_one_list() -> None:
    """RFC 9110 section 5.3."""
    assert denial_format([("Accept", b"application/json;q=0.1"), ("accept", b"text/html")]) == "page"


@pytest.mark.parametrize(
    ("content_type", "expected"), [(b"application/grpc+proto", "grpc"), (b"application/grpc-web", "page")]
)
def test_grpc_calls_get_a_status(content_type: bytes, expected: BodyFormat) -> None:
    """Whatever they accept; gRPC-Web is not gRPC."""
    assert denial_format([("accept", b"text/html"), ("content-type", content_type)]) == expected


def test_without_headers_it_is_a_problem() -> None:
    """Nothing is known of the client."""
    assert denial_format([]) == "problem"
