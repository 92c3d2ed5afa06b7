"""gRPC methods, websockets and CONNECT through a real Envoy: each needs a rule that names it."""

from collections.abc import Iterator

import grpc
import pytest

from authz_server.envoy.config_settings import Address
from authz_server.envoy.config_settings import Upstream as Behind
from tests.envoy.clients import LINE, LOOPBACK, Ask, Tunnel, grpc_say, http1, http1_tunnel, http2, http2_tunnel
from tests.envoy.stack import GRPC_HOST, Stack, Variant, running_stack
from tests.envoy.upstreams import Upstream, tunnel_echo

EVENTS, TUNNEL = "events.shop.example", "tunnel.shop.example"
POLICIES = {
    "echo.yaml": """
        kind: service
        name: echo
        hosts: [grpc.shop.example]
        rules:
          - id: web-says
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
            to: [{grpc: {service: echo.v1.Echo, methods: [Say, Wipe]}}]
          - id: users-list
            effect: allow
            from: [{users: any}]
            to: [{grpc: {service: echo.v1.Echo, methods: [List]}}]
          - {id: nobody-wipes, effect: deny, to: [{grpc: {service: echo.v1.Echo, methods: [Wipe]}}]}
    """,
    "events.yaml": """
        kind: service
        name: events
        hosts: [events.shop.example]
        rules:
          - id: web-listens
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
            to: [{methods: [GET], paths: ["/rooms/{room}"], upgrade: websocket}]
          - {id: all-read, effect: allow, from: anyone, to: [{methods: [GET], paths: ["/news", "/news/{id}"]}]}
          - {id: not-the-board, effect: deny, to: [{paths: ["/rooms/board"]}]}
    """,
    "tunnel.yaml": """
        kind: service
        name: tunnel
        hosts: [tunnel.shop.example]
        rules:
          - id: web-tunnels
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
            to: [{connect: true, hosts: ["tunnel.shop.example:8443"]}]
          - {id: all-read, effect: allow, from: anyone, to: [{methods: [GET]}]}
    """,
}
# What an operator adds to what `authz envoy config` writes, for CONNECT and for websockets over HTTP/2.
TO_TCP = "{upgrade_type: CONNECT, connect_config: {}}"
CONNECT = {
    "          - upgrade_type: websocket\n": (
        "          - upgrade_type: websocket\n          - upgrade_type: CONNECT\n"
    ),
    "          http2_protocol_options:\n": "          http2_protocol_options:\n            allow_connect: true\n",
    f"              - {TUNNEL}\n              routes:\n": (
        f"              - {TUNNEL}\n              routes:\n"
        "              - match: {connect_matcher: {}}\n"
        f"                route: {{cluster: {TUNNEL}, upgrade_configs: [{TO_TCP}]}}\n"
    ),
}


@pytest.fixture(scope="module")
def behind() -> Iterator[Upstream]:
    """The service behind websockets and tunnels."""
    with tunnel_echo() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def stack(behind: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An Envoy that upgrades to websockets, and makes tunnels to one host."""
    upstreams = tuple(Behind(host, Address(LOOPBACK, behind.port)) for host in (EVENTS, TUNNEL))
    variant = Variant(envoy=CONNECT, upstreams=upstreams)
    with running_stack(tmp_path_factory.mktemp("protocols"), POLICIES, variant) as running:
        yield running


def websocket(path: str, protocol: str = "websocket", method: str = "GET") -> Ask:
    """A request for an upgrade."""
    return Ask(method, path, EVENTS, [("connection", "Upgrade"), ("upgrade", protocol)])


@pytest.mark.parametrize("method", ["Say"])
def test_an_allowed_grpc_method_is_called(stack: Stack, method: str) -> None:
    """By service and method."""
    caller = stack.identities.caller("web")
    assert grpc_say(caller, stack.port, GRPC_HOST, b"hello", f"/echo.v1.Echo/{method}") == b"hello"
    record = stack.record(path=f"/echo.v1.Echo/{method}")
    assert (record["decision"], record["rule"]) == ("allow", "echo/web-says")


@pytest.mark.parametrize(
    ("caller", "method", "status", "reason"),
    [
        ("web", "/echo.v1.Echo/Delete", grpc.StatusCode.PERMISSION_DENIED, "no_rule_allows"),
        ("web", "/echo.v1.Echo/say", grpc.StatusCode.PERMISSION_DENIED, "no_rule_allows"),
        ("web", "/echo.v1.Other/Say", grpc.StatusCode.PERMISSION_DENIED, "no_rule_allows"),
        ("web", "/echo.v1.Echo/Say/Say", grpc.StatusCode.PERMISSION_DENIED, "no_rule_allows"),
        ("web", "/echo.v1.Echo/Say?x=1", grpc.StatusCode.PERMISSION_DENIED, "no_rule_allows"),
        ("web", "/echo.v1.Echo/Wipe", grpc.StatusCode.PERMISSION_DENIED, "denied_by_rule"),
        ("web", "/echo.v1.Echo/WIPE", grpc.StatusCode.PERMISSION_DENIED, "denied_by_rule"),
        ("batch", "/echo.v1.Echo/Say", grpc.StatusCode.PERMISSION_DENIED, "no_rule_allows"),
        ("web", "/echo.v1.Echo/List", grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
        ("web", "/echo.v1.Echo/Say;x", grpc.StatusCode.INVALID_ARGUMENT, "ambiguous_path"),
    ],
)
def test_another_grpc_method_gets_the_status_of_its_reason(
    stack: Stack, caller: str, method: str, status: grpc.StatusCode, reason: str
) -> None:
    """Envoy makes trailers of the denial, and the service sees nothing."""
    before = len(stack.grpc.seen())
    with pytest.raises(grpc.RpcError) as denied:
        grpc_say(stack.identities.caller(caller), stack.port, GRPC_HOST, b"hello", method)
    assert denied.value.code() is status
    assert f"(reason {reason}, decision " in (denied.value.details() or "")
    assert len(stack.grpc.seen()) == before


@pytest.mark.parametrize("content_type", ["application/grpc-web", "application/connect+proto", "application/json"])
def test_what_only_looks_like_grpc_is_no_grpc_call(stack: Stack, content_type: str) -> None:
    """gRPC-Web and Connect reach the same methods, and are not what the rule names."""
    ask = Ask("POST", "/echo.v1.Echo/Say", GRPC_HOST, [("content-type", content_type)])
    reply = http2(stack.identities.caller("web"), stack.port, ask)
    assert (reply.status, reply.reason) == (403, "no_rule_allows")


def test_a_websocket_is_opened_where_a_rule_names_it(stack: Stack, behind: Upstream) -> None:
    """Envoy upgrades, and what is sent comes back."""
    opened = http1_tunnel(stack.identities.caller("web"), stack.port, websocket("/rooms/lobby", "WebSocket"))
    assert opened == Tunnel(101, echo=LINE)
    assert behind.seen()[-1].path == "/rooms/lobby"
    assert stack.record(path="/rooms/lobby")["rule"] == "events/web-listens"


@pytest.mark.parametrize(
    ("caller", "ask", "reason"),
    [
        ("batch", websocket("/rooms/lobby"), "no_rule_allows"),
        (None, websocket("/rooms/lobby"), "no_rule_allows"),
        ("web", websocket("/rooms/board"), "denied_by_rule"),
        ("web", websocket("/rooms/BOARD"), "denied_by_rule"),
        ("web", websocket("/news"), "no_rule_allows"),
        ("web", websocket("/rooms/lobby/x"), "no_rule_allows"),
        ("web", websocket("/rooms/lobby", method="POST"), "no_rule_allows"),
        ("web", websocket("/rooms/lobby;x"), "ambiguous_path"),
    ],
)
def test_no_other_websocket_is_opened(
    stack: Stack, behind: Upstream, caller: str | None, ask: Ask, reason: str
) -> None:
    """PROTO-01: a rule for the path alone does not allow an upgrade; the service sees nothing."""
    before = len(behind.seen())
    denied = http1_tunnel(stack.identities.caller(caller), stack.port, ask)
    assert (denied.status, denied.reason) == (400 if reason == "ambiguous_path" else 403, reason)
    assert len(behind.seen()) == before


@pytest.mark.parametrize("protocol", ["h2c", "websocket, h2c", "tls/1.3", "connect-udp"])
def test_no_other_protocol_is_upgraded_to(stack: Stack, behind: Upstream, protocol: str) -> None:
    """Envoy refuses those that it does not have, and we all that a rule does not name."""
    before = len(behind.seen())
    denied = http1_tunnel(stack.identities.caller("web"), stack.port, websocket("/rooms/lobby", protocol))
    assert denied.status >= 400
    assert len(behind.seen()) == before


def test_a_rule_for_upgrades_allows_no_plain_request(stack: Stack, behind: Upstream) -> None:
    """The path alone is not what it names."""
    before = len(behind.seen())
    reply = http1(stack.identities.caller("web"), stack.port, Ask(target="/rooms/lobby", authority=EVENTS))
    assert (reply.status, reply.reason) == (403, "no_rule_allows")
    assert len(behind.seen()) == before


@pytest.mark.parametrize(
    ("path", "protocol", "status"),
    [
        ("/rooms/lobby", "websocket", 200),
        ("/rooms/board", "websocket", 403),
        ("/news", "websocket", 403),
        ("/rooms/lobby", "connect-udp", 404),
        ("/rooms/lobby", "bytestream", 403),
    ],
)
def test_extended_connect_is_an_upgrade(stack: Stack, behind: Upstream, path: str, protocol: str, status: int) -> None:
    """RFC 8441: a websocket over HTTP/2 is decided like one over HTTP/1.1."""
    before = len(behind.seen())
    answer = http2_tunnel(stack.identities.caller("web"), stack.port, Ask(target=path, authority=EVENTS), protocol)
    assert (answer.status, answer.echo) == (status, LINE if status == 200 else b"")
    assert len(behind.seen()) - before == (status == 200)


def tunnel(stack: Stack, version: int, caller: str | None, authority: str) -> Tunnel:
    """Ask for a tunnel."""
    if version == 1:
        return http1_tunnel(stack.identities.caller(caller), stack.port, Ask("CONNECT", authority, authority))
    return http2_tunnel(stack.identities.caller(caller), stack.port, Ask(authority=authority))


@pytest.mark.parametrize("version", [1, 2])
def test_a_tunnel_is_made_where_a_rule_names_connect(stack: Stack, behind: Upstream, version: int) -> None:
    """To the host and port that it names."""
    before = len(behind.seen())
    assert tunnel(stack, version, "web", f"{TUNNEL}:8443") == Tunnel(200, echo=LINE)
    assert len(behind.seen()) == before + 1
    record = stack.record(method="CONNECT", decision="allow")
    assert (record["rule"], record["host"], record["path"]) == ("tunnel/web-tunnels", TUNNEL, "")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("caller", "port"), [("web", 22), ("batch", 8443), (None, 8443)])
def test_no_other_tunnel_is_made(stack: Stack, behind: Upstream, caller: str | None, port: int, version: int) -> None:
    """PROTO-01: another port, or another caller; the rule for GET allows no tunnel."""
    before = len(behind.seen())
    denied = tunnel(stack, version, caller, f"{TUNNEL}:{port}")
    assert (denied.status, denied.reason) == (403, "no_rule_allows")
    assert len(behind.seen()) == before
