"""Whether all of a body came."""

import pytest
from msgspec.structs import replace

from authz_server.model import Request
from authz_server.request.body import BodyIncomplete, whole_body
from authz_server.request.operation import canonical_operation

SENT = {"max_request_bytes": "9"}


def asked(body: bytes = b"", size: int = 0, sent: str | None = None, method: str = "POST", **headers: str) -> Request:
    """A request with a body; header names have underscores here."""
    return Request(
        method=method,
        target="" if method == "CONNECT" else "/",
        host="h.example",
        headers=tuple((name.replace("_", "-"), value.encode()) for name, value in headers.items()),
        body=body,
        body_size=size,
        extensions={} if sent is None else {"max_request_bytes": sent},
    )


def outcome(request: Request, max_bytes: int = 100) -> bytes | None:
    """The whole body, or None where it is incomplete."""
    try:
        return whole_body(request, canonical_operation(request), max_bytes)
    except BodyIncomplete:
        return None


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (asked(b"12345", content_length="5"), b"12345"),
        (asked(b"12345", 5, content_length="5", x_envoy_auth_partial_body="false"), b"12345"),
        (asked(b"12345", -1, content_length="5"), b"12345"),
        (asked(b"", content_length="0"), b""),
        (asked(b"123456789", 9, sent="9", content_length="9"), b"123456789"),
        (asked(b"12345678", 8, sent="9"), b"12345678"),
        (asked(b"", 0, sent="9"), b""),
        # A part of a body, or none, looks like this as well.
        (asked(b"12345"), None),
        (asked(b""), None),
        (asked(b"", method="GET"), None),
        (asked(b"123456789", 9, sent="9"), None),
        (asked(b"1234567890", sent="9"), None),
        # The announced length is another one.
        (asked(b"12345", content_length="6"), None),
        (asked(b"12345", content_length="4"), None),
        (asked(b"", content_length="5", sent="9"), None),
        (asked(b"12345", content_length="5,5", sent="9"), None),
        (asked(b"12345", content_length="+5", sent="9"), None),
        (asked(b"12345", content_length="05", sent="9"), None),
        (asked(b"", content_length="", sent="9"), None),
        # Envoy says that it is cut, or counts other bytes.
        (asked(b"12345", content_length="5", x_envoy_auth_partial_body="true"), None),
        (asked(b"12345", content_length="5", x_envoy_auth_partial_body="TRUE"), None),
        (asked(b"12345", 6, content_length="5"), None),
        (asked(b"12345", 4, content_length="5"), None),
        (asked(b"", 5, sent="9"), None),
        # Nobody waits for the end of these.
        (asked(b"", sent="9", upgrade="websocket"), None),
        (asked(b"", content_length="0", upgrade="h2c"), None),
        (asked(b"", sent="9", method="CONNECT"), None),
        # What is no number announces nothing.
        *[(asked(b"", sent=text), None) for text in ("", "-1", "nine", "9 ", "0", "१", "9" * 5000)],
    ],
    ids=str,
)
def test_a_body_is_whole_where_somebody_says_so(request_: Request, body: bytes | None) -> None:
    """The client by its content-length, or the route by how much Envoy sends; and nothing contradicts."""
    assert outcome(request_) == body


def test_a_body_has_a_bound() -> None:
    """The bound is exact, whatever the proxy sends."""
    request = asked(b"12345", content_length="5")
    assert outcome(request, 5) == b"12345"
    assert outcome(request, 4) is None


def test_a_header_cannot_make_a_body_whole() -> None:
    """Should a client's own copy come through, it takes away and gives nothing."""
    forged = asked(b"", method="GET", x_envoy_auth_partial_body="false")
    assert outcome(forged) is None
    assert outcome(replace(forged, extensions=SENT)) == b""
