"""Attacks with hosts, methods and protocols."""

import pytest

from authz_server.errors import Reason
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from tests.security.server import HOST, Ask, Server, assert_denied, message_of


@pytest.mark.parametrize(
    "headers",
    [
        [(":authority", "evil.example")],
        [(":authority", HOST), ("host", "evil.example")],
        [("host", "evil.example")],
        [("host", HOST), ("host", "evil.example")],
    ],
)
def test_host_01_two_hosts_that_differ_are_refused(server: Server, headers: list[tuple[str, str]]) -> None:
    """Nobody knows which of them the upstream believes."""
    assert_denied(server.ask(Ask(headers=headers)), Reason.HEADER_CONFLICT, Reason.MALFORMED_REQUEST)
    assert server.ask(Ask(headers=[(":authority", HOST)])).allowed


@pytest.mark.parametrize(
    "host",
    [
        *("", "u:p@orders.shop.example", "orders.shop.example,evil.example", "orders%2eshop.example", "a" * 254),
        *("orders.shop.example/", "orders.shop.example:x", "orders.shop.example:80:80", "orders shop.example", "[::1"),
        *(
            "orders.shop.example\x00",
            "örders.shop.example",
            "orders.shop.example?",
            "[v1.x]",
            "orders.shop.example:99999",
        ),
    ],
)
def test_host_02_a_host_that_is_none_is_refused(server: Server, host: str) -> None:
    """CVE-2021-39155 of Istio, where case decided which policy there was, and its kin."""
    assert_denied(server.ask(Ask(host=host)), Reason.BAD_HOST)


@pytest.mark.parametrize("host", ["ORDERS.shop.example", "orders.shop.example.", "Orders.Shop.Example.:8443"])
def test_host_02_a_host_has_one_form(server: Server, host: str) -> None:
    """Case, one trailing dot and the port make no difference: the same policy speaks for it, and denies."""
    assert server.ask(Ask(host=host)).allowed
    assert_denied(server.ask(Ask(host=host, path="/admin")), Reason.DENIED_BY_RULE)
    assert_denied(server.ask(Ask(host="orders.shop.example..")), Reason.BAD_HOST, Reason.NO_SERVICE)


@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "", "javascript"])
def test_host_03_the_scheme_decides_nothing(server: Server, scheme: str) -> None:
    """A client may write what it likes there."""

    def change(message: CheckRequest) -> None:
        message.attributes.request.http.scheme = scheme

    assert server.ask(Ask(change=change)).allowed
    assert not server.ask(Ask(path="/list", change=change)).allowed


@pytest.mark.parametrize("method", ["get", "Get", "gET", " GET", "GET ", "G\x00ET", "GET\n", "", "DELETE", "GETX"])
def test_meth_01_methods_match_exactly(server: Server, method: str) -> None:
    """In upper case; anything else is refused or fits no rule."""
    assert_denied(server.ask(Ask(method=method)), Reason.BAD_METHOD, Reason.NO_RULE_ALLOWS)


UPGRADES = [
    [("upgrade", "websocket"), ("connection", "Upgrade")],
    [("upgrade", "h2c"), ("connection", "Upgrade, HTTP2-Settings")],
    [("upgrade", "WebSocket")],
    [("upgrade", "TLS/1.3, websocket")],
]


@pytest.mark.parametrize("headers", UPGRADES)
def test_proto_01_an_upgrade_needs_a_rule_that_names_it(server: Server, headers: list[tuple[str, str]]) -> None:
    """Behind it nobody asks us again."""
    assert_denied(server.ask(Ask(headers=headers)), Reason.NO_RULE_ALLOWS)
    assert_denied(server.ask(Ask(method="CONNECT", path="")), Reason.NO_RULE_ALLOWS)
    extended = [(":protocol", "websocket")]
    assert not server.ask(Ask(method="CONNECT", headers=extended, protocol="HTTP/2")).allowed


FIELDS = ["source", "destination", "request", "context_extensions", "metadata_context", "tls_session"]


def test_proto_02_any_attribute_may_be_missing(server: Server) -> None:
    """An explicit denial, and no exception, for every part of the message that is not there."""
    for field in FIELDS:
        message = message_of(server.as_web())
        message.attributes.ClearField(field)
        assert server.send(message.SerializeToString()).reason != Reason.INTERNAL_ERROR
    for field in ("method", "host", "path", "header_map", "protocol", "id", "scheme"):
        message = message_of(Ask())
        message.attributes.request.http.ClearField(field)
        outcome = server.send(message.SerializeToString())
        assert outcome.allowed is (field not in ("method", "host", "path"))
        assert outcome.reason != Reason.INTERNAL_ERROR
    assert_denied(server.send(b""), Reason.BAD_METHOD, Reason.BAD_HOST, Reason.AMBIGUOUS_PATH)
    assert_denied(server.send(b"\xff\xff"), Reason.MALFORMED_REQUEST)
