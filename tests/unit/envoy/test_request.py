"""From Envoy's CheckRequest to a Request."""

import pytest

from authz_server.envoy.request import MAX_MESSAGE_BYTES, read_request
from authz_server.errors import Reason, Refused
from authz_server.model import Request
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest


def message() -> CheckRequest:
    """A request as Envoy sends it, without headers."""
    check = CheckRequest()
    attributes = check.attributes
    attributes.source.principal = "spiffe://shop.example/web"
    attributes.source.certificate = "-----BEGIN"
    attributes.source.address.socket_address.address = "10.0.0.7"
    attributes.source.service = "spoofed"
    attributes.destination.address.socket_address.address = "10.0.0.8"
    attributes.destination.address.socket_address.port_value = 8443
    attributes.context_extensions["service"] = "shop/orders"
    http = attributes.request.http
    http.id, http.method, http.path, http.host, http.protocol = "r-1", "GET", "/a?b", "h.example", "HTTP/2"
    return check


def add_raw(check: CheckRequest, name: str, value: bytes) -> None:
    """Add a header as Envoy does with `encode_raw_headers`."""
    check.attributes.request.http.header_map.headers.add(key=name, raw_value=value)


def test_every_attribute_in_use_is_read() -> None:
    """What Envoy reports stands in the request, unjudged."""
    check = message()
    add_raw(check, "accept", b"*/*")
    assert read_request(check.SerializeToString()) == Request(
        method="GET",
        target="/a?b",
        host="h.example",
        headers=(("accept", b"*/*"),),
        protocol="HTTP/2",
        id="r-1",
        client_address="10.0.0.7",
        destination_address="10.0.0.8",
        destination_port=8443,
        principal="spiffe://shop.example/web",
        certificate="-----BEGIN",
        extensions={"service": "shop/orders"},
    )


def test_every_attribute_may_be_missing() -> None:
    """An empty message is an empty request."""
    assert read_request(b"") == Request()


def test_repeated_raw_headers_stay_apart() -> None:
    """`header_map` keeps order and repetition, and bytes that are not UTF-8."""
    check = message()
    for value in (b"a", b"\xff"):
        add_raw(check, "x", value)
    request = read_request(check.SerializeToString())
    assert request.headers == (("x", b"a"), ("x", b"\xff"))
    assert not request.headers_joined


def test_joined_headers_are_marked_as_joined() -> None:
    """`headers` is a map, where repeated headers are one text."""
    check = message()
    check.attributes.request.http.headers["x"] = "a,b"
    request = read_request(check.SerializeToString())
    assert request.headers == (("x", b"a,b"),)
    assert request.headers_joined


def test_two_encodings_that_agree_are_read_as_raw() -> None:
    """Both maps may be filled as long as they say the same."""
    check = message()
    for value in (b"a", b"b"):
        add_raw(check, "x", value)
    check.attributes.request.http.headers["x"] = "a,b"
    assert read_request(check.SerializeToString()).headers == (("x", b"a"), ("x", b"b"))


@pytest.mark.parametrize("joined", [{"x": "b"}, {"x": "a", "y": "b"}, {"y": "a"}])
def test_two_encodings_that_differ_are_refused(joined: dict[str, str]) -> None:
    """A request must not be one thing to us and another to whoever reads the other map."""
    check = message()
    add_raw(check, "x", b"a")
    check.attributes.request.http.headers.update(joined)
    with pytest.raises(Refused) as refusal:
        read_request(check.SerializeToString())
    assert refusal.value.reason is Reason.HEADER_CONFLICT


@pytest.mark.parametrize(
    "payload", [b"\xff", b"\x0a\xff", b"\x0a\x05\x22\x03\x12\x01\x0a", b"x" * (MAX_MESSAGE_BYTES + 1)]
)
def test_what_is_no_check_request_is_malformed(payload: bytes) -> None:
    """Broken or huge messages are refused, without an exception of protobuf's."""
    with pytest.raises(Refused) as refusal:
        read_request(payload)
    assert refusal.value.reason is Reason.MALFORMED_REQUEST


def test_text_that_is_not_utf8_is_malformed() -> None:
    """Protobuf strings are UTF-8; a sender that does not keep to it is not read."""
    payload = message().SerializeToString().replace(b"h.example", b"h\xffexample")
    with pytest.raises(Refused) as refusal:
        read_request(payload)
    assert refusal.value.reason is Reason.MALFORMED_REQUEST


def test_the_body_is_read_as_bytes_alone() -> None:
    """What Envoy makes a text of has lost the bytes that are none."""
    check = message()
    http = check.attributes.request.http
    http.raw_body, http.size = b'{"a":"\xff"}', 9
    request = read_request(check.SerializeToString())
    assert (request.body, request.body_size) == (b'{"a":"\xff"}', 9)
    http.body = '{"a":"!"}'
    http.ClearField("raw_body")
    request = read_request(check.SerializeToString())
    assert (request.body, request.body_size) == (b"", 9)


def test_metadata_is_read_of_the_listed_namespaces_alone() -> None:
    """Neither others nor those of routes, nor typed ones."""
    check = message()
    for name in ("a.b", "other"):
        check.attributes.metadata_context.filter_metadata[name]["x"] = 1
        check.attributes.route_metadata_context.filter_metadata[f"{name}.route"]["x"] = 1
    check.attributes.metadata_context.typed_filter_metadata["typed"].value = b"x"
    payload = check.SerializeToString()
    assert read_request(payload).metadata == {}
    request = read_request(payload, ("a.b", "none", "typed", "a.b.route", "other.route"))
    assert {name: dict(written) for name, written in request.metadata.items()} == {"a.b": {"x": 1}}
