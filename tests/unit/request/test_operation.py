"""A whole request in canonical form."""

from ipaddress import ip_address

import pytest

from authz_server.errors import Reason, Refused
from authz_server.model import Path, Request
from authz_server.request.operation import Operation, canonical_operation


def operation(
    *headers: tuple[str, bytes],
    method: str = "GET",
    target: str = "/orders/c7-1",
    host: str = "orders.shop.example",
    client: str = "",
    joined: bool = False,
) -> Operation:
    """The canonical form of a request."""
    request = Request(
        method=method, target=target, host=host, headers=headers, headers_joined=joined, client_address=client
    )
    return canonical_operation(request)


def test_a_request_is_put_into_canonical_form() -> None:
    """Everything that rules ask for, from the proxy's own attributes."""
    request = Request(
        method="GET",
        target="/a%20b/?x=1",
        host="Orders.Shop.Example:8443",
        headers=((":path", b"/a%20b/?x=1"), ("Accept", b"*/*")),
        protocol="HTTP/2",
        id="r-1",
        client_address="::ffff:10.1.2.3",
        destination_address="10.9.9.9",
        destination_port=443,
    )
    canonical = canonical_operation(request)
    assert (canonical.method, canonical.host, canonical.port) == ("GET", "orders.shop.example", 8443)
    assert canonical.path == Path(("a b",), trailing_slash=True)
    assert (canonical.path_text, canonical.query_text) == ("/a%20b/", "x=1")
    assert canonical.headers.names() == ["accept"]
    assert (canonical.protocol, canonical.id) == ("HTTP/2", "r-1")
    assert canonical.client_ip == ip_address("10.1.2.3")
    assert (canonical.destination_host, canonical.destination_port) == ("10.9.9.9", 443)
    assert (canonical.is_grpc, canonical.grpc, canonical.upgrade, canonical.is_connect) == (False, None, "", False)


def test_an_empty_request_is_refused_and_not_an_error() -> None:
    """PROTO-02: every attribute may be missing."""
    with pytest.raises(Refused):
        canonical_operation(Request())


@pytest.mark.parametrize(
    "header",
    [
        (":method", b"POST"),
        (":method", b"get"),
        (":path", b"/admin"),
        (":path", b"/orders/c7-1?"),
        (":path", b"/\xff"),
        (":path", b""),
        (":authority", b"evil.example"),
        ("host", b"evil.example"),
        ("host", b"orders.shop.example:80"),
        ("host", b""),
        ("host", b"orders.shop.example,evil.example"),
        ("host", b"\xff"),
        ("Host", b"evil.example"),
    ],
)
def test_a_header_that_contradicts_the_request_is_a_conflict(header: tuple[str, bytes]) -> None:
    """HOST-01, HDR-05: method, path and host have one value each."""
    with pytest.raises(Refused) as refused:
        operation(header)
    assert refused.value.reason is Reason.HEADER_CONFLICT


@pytest.mark.parametrize("name", ["host", ":authority", ":path", ":method"])
def test_a_repeated_one_is_a_conflict(name: str) -> None:
    """RFC 9112 section 3.2, RFC 9113 section 8.3: these come once, even with the right value."""
    value = {"host": b"orders.shop.example", ":authority": b"orders.shop.example", ":path": b"/orders/c7-1"}
    pair = (name, value.get(name, b"GET"))
    with pytest.raises(Refused) as refused:
        operation(pair, pair)
    assert refused.value.reason is Reason.HEADER_CONFLICT


def test_headers_that_agree_are_fine() -> None:
    """Envoy sends the pseudo-headers along; the case of a host does not matter."""
    headers = ((":method", b"GET"), (":path", b"/orders/c7-1"), (":authority", b"Orders.shop.example"))
    assert operation(*headers, ("host", b"ORDERS.shop.example"), (":scheme", b"gopher")).host == "orders.shop.example"


@pytest.mark.parametrize(
    "name",
    [
        "x-envoy-original-path",
        "x-forwarded-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-original-host",
        "x-forwarded-host",
        "x-forwarded-for",
        "forwarded",
        "x-forwarded-proto",
        "x-envoy-original-method",
    ],
)
def test_no_header_feeds_method_path_host_or_client(name: str) -> None:
    """PATH-10: what a client can write about its request is not what is decided about."""
    plain, dressed = operation(client="192.0.2.1"), operation((name, b"/admin"), client="192.0.2.1")
    for field in ("method", "path", "path_text", "host", "client_ip"):
        assert getattr(plain, field) == getattr(dressed, field)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"method": "get"}, Reason.BAD_METHOD),
        ({"method": ""}, Reason.BAD_METHOD),
        ({"host": "user@h"}, Reason.BAD_HOST),
        ({"host": ""}, Reason.BAD_HOST),
        ({"target": "/a/../b"}, Reason.AMBIGUOUS_PATH),
        ({"target": ""}, Reason.AMBIGUOUS_PATH),
        ({"target": "", "method": "GET"}, Reason.AMBIGUOUS_PATH),
    ],
)
def test_each_part_has_its_own_reason(fields: dict[str, str], reason: Reason) -> None:
    """Reasons are stable and say which part it was."""
    with pytest.raises(Refused) as refused:
        operation(**fields)  # type: ignore[arg-type]
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=utf-8", True),
        (b"Application/GRPC+Json", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/grpcx", False),
        (b"application/grpc,application/json", False),
        (b"application/grpc;a=b,application/json", False),
        (b"application/json", False),
        (b" application/grpc", False),
        (b"", False),
    ],
)
def test_grpc_is_known_by_its_content_type(content_type: bytes, expected: bool) -> None:
    """PATH-08: gRPC over HTTP/2, and not gRPC-Web, which is another protocol."""
    assert operation(("content-type", content_type)).is_grpc is expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/orders.v1.Refunds/Create", ("orders.v1.Refunds", "Create")),
        ("/Refunds/create", ("Refunds", "create")),
        ("/orders.v1.Refunds/Create/", None),
        ("/orders.v1.Refunds/Create?", None),
        ("/orders.v1.Refunds/Create?x=1", None),
        ("/orders.v1.Refunds", None),
        ("/a/orders.v1.Refunds/Create", None),
        ("/orders.v1.Ref%75nds/Create", None),
        ("/", None),
    ],
)
def test_a_grpc_call_has_exactly_service_and_method(target: str, expected: tuple[str, str] | None) -> None:
    """PATH-08: two segments, no query, no escapes, with case."""
    grpc = (("content-type", b"application/grpc"),)
    assert operation(*grpc, target=target, method="POST").grpc == expected
    assert operation(target=target, method="POST").grpc is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"websocket"], "websocket"),
        ([b"WebSocket"], "websocket"),
        ([b"websocket, h2c"], "websocket,h2c"),
        ([b"websocket", b"h2c"], "websocket,h2c"),
        ([b"connect-udp"], "connect-udp"),
        ([b"\xff"], "ÿ"),
        ([b""], ""),
        ([], ""),
    ],
)
def test_an_upgrade_is_named_in_lower_case(values: list[bytes], expected: str) -> None:
    """PROTO-01: an upgrade shows whatever it is, so that no rule takes it for a plain request."""
    assert operation(*[("upgrade", value) for value in values]).upgrade == expected


def test_plain_connect_has_an_empty_path() -> None:
    """PATH-09: CONNECT names a host and no path; other methods need one."""
    connect = operation(method="CONNECT", target="", host="db.shop.example:5432")
    assert connect.is_connect
    assert (connect.path, connect.host, connect.port) == (Path((), trailing_slash=False), "db.shop.example", 5432)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], "4bf92f3577b34da6a3ce929d0e0e4736"),
        ([b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], "4bf92f3577b34da6a3ce929d0e0e4736"),
        ([b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], None),
        ([b"00-00000000000000000000000000000000-00f067aa0ba902b7-01"], None),
        ([b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"], None),
        ([b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"], None),
        ([b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 "], None),
        ([b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] * 2, None),
        ([b"garbage"], None),
        ([b""], None),
        ([], None),
    ],
)
def test_the_trace_id_comes_from_a_valid_traceparent(values: list[bytes], expected: str | None) -> None:
    """W3C Trace Context section 3.2; anything else is no trace."""
    assert operation(*[("traceparent", value) for value in values]).trace_id == expected


def test_ten_thousand_headers_are_read() -> None:
    """HDR-08: many headers, repeated ones too, are no error."""
    pairs = [(f"x-{number}", b"v" * 90) for number in range(5000)] + [("x-many", b"v")] * 5000
    headers = operation(*pairs).headers
    assert len(headers.names()) == 5001
    assert len(headers.values("x-many")) == 5000


def test_the_request_id_is_the_one_that_the_access_log_has() -> None:
    """Envoy's `x-request-id`; its internal id of the stream only where there is none."""
    request = Request(method="GET", target="/", host="h", id="17", headers=(("x-request-id", b"4b1f"),))
    assert canonical_operation(request).id == "4b1f"
    assert canonical_operation(Request(method="GET", target="/", host="h", id="17")).id == "17"
