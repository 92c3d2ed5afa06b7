"""What an answer changes on the way to the service and back, as a real Envoy does it."""

from collections.abc import Callable, Iterator

import grpc
import pytest

from authz_server.envoy.config_settings import Address
from authz_server.envoy.config_settings import Upstream as Behind
from tests.envoy.clients import LOOPBACK, Ask, Caller, Reply, grpc_say, http1, http1_tunnel, http2
from tests.envoy.identities import WEB
from tests.envoy.stack import GRPC_HOST, Stack, Variant, running_stack
from tests.envoy.upstreams import ECHO_METHOD, Upstream, tunnel_echo

SOCKETS = "sockets.shop.example"

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: ways-to-change-a-header
            effect: allow
            from: anyone
            to: [{paths: [/ways]}]
            answer:
              set_headers:
                x-set: "'ours'"
                x-append: {append: "'ours'"}
                x-absent: {if_absent: "'ours'"}
                x-present: {if_present: "'ours'"}
              response_headers:
                content-type: "'text/x-ours'"
                set-cookie: {append: "'a=b'"}
                server: {if_absent: "'ours'"}
                x-none: {if_present: "'ours'"}
          - id: gone
            effect: deny
            to: [{paths: [/gone]}]
            answer: {status: 410, hint: "'Use /ways & <b>means</b>.'"}
          - id: query
            effect: allow
            from: anyone
            to: [{paths: [/query]}]
            answer:
              remove_headers: [x-debug, cookie]
              set_query: {tenant: 'request.query["t"][0]', fixed: "'1'"}
              remove_query: [secret, debug]
          - id: marked
            effect: allow
            from: [{workloads: ["spiffe://shop.example/**"]}]
            to: [{paths: [/marked]}]
            answer: {metadata: {tier: "'gold'", caller: workload.id}, set_headers: {x-user: workload.id}}
          - {id: plain, effect: allow, from: anyone, to: [{paths: [/plain]}]}
          - id: own-words
            effect: deny
            to: [{paths: [/own-words]}]
            answer:
              status: 451
              body: "'Not in ' + request.method + ' land.'"
              headers: {content-type: "'text/x-ours'", x-why: "'law'", set-cookie: "'a=b'"}
    """,
    "sockets.yaml": """
        kind: service
        name: sockets
        hosts: [sockets.shop.example]
        rules:
          - {id: known, effect: allow, from: [{workloads: ["spiffe://shop.example/**"]}],
             to: [{methods: [GET], paths: [/known], upgrade: websocket}], answer: {set_headers: {x-user: workload.id}}}
          - {id: all, effect: allow, from: anyone, to: [{methods: [GET], paths: [/all], upgrade: websocket}]}
    """,
    "grpc.yaml": """
        kind: service
        name: echo
        hosts: [grpc.shop.example]
        rules:
          - {id: say, effect: allow, from: anyone, to: [{grpc: {service: echo.v1.Echo, methods: [Say]}}],
             answer: {set_headers: {x-user: "'nobody'"}, remove_headers: [x-debug]}}
          - id: worded
            effect: deny
            to: [{grpc: {service: echo.v1.Echo, methods: [Worded]}}]
            answer: {status: 429, body: "'Slow down.'", headers: {x-why: "'rate'"}}
    """,
    "legacy.yaml": """
        kind: service
        name: legacy
        hosts: [legacy.shop.example]
        mode: audit
        rules:
          - {id: some, effect: allow, from: anyone, to: [{paths: [/some]}], answer: {set_headers: {x-user: "'nobody'"}}}
    """,
}


# What a rule says for the access log is not among the fields that `authz envoy config` writes.
SERVICE = "                  service: '%DYNAMIC_METADATA(envoy.filters.http.ext_authz:service)%'\n"
LOGGED = {SERVICE: SERVICE + SERVICE.replace("service", "answer")}


@pytest.fixture(scope="module")
def sockets() -> Iterator[Upstream]:
    """The service behind websockets."""
    with tunnel_echo() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def stack(sockets: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with these policies."""
    variant = Variant(
        {"identity_headers": ["x-user", "x-role"]},
        envoy=LOGGED,
        upstreams=(Behind(SOCKETS, Address(LOOPBACK, sockets.port)),),
    )
    with running_stack(tmp_path_factory.mktemp("answers"), POLICIES, variant) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ({}, {"x-set": "ours", "x-append": "ours", "x-absent": "ours", "x-present": None}),
        (
            {"x-set": "a", "x-append": "a", "x-absent": "a", "x-present": "a"},
            {"x-set": "ours", "x-append": "a,ours", "x-absent": "a", "x-present": "ours"},
        ),
    ],
    ids=["nothing there", "something there"],
)
def test_a_header_for_the_service_can_depend_on_what_is_there(
    stack: Stack, sent: dict[str, str], seen: dict[str, str | None]
) -> None:
    """In its place, beside it, only without it, only in its place."""
    reply = http1(stack.identities.caller("web"), stack.port, Ask(target="/ways", headers=list(sent.items())))
    headers = reply.json()["headers"]
    assert {name: headers.get(name) for name in seen} == seen


def test_a_header_for_the_client_can_depend_on_what_is_there(stack: Stack) -> None:
    """The same for the response of the service."""
    reply = http1(stack.identities.caller("web"), stack.port, Ask(target="/ways"))
    seen = {name: reply.headers.get(name) for name in ("content-type", "set-cookie", "server", "x-none")}
    assert seen == {"content-type": "text/x-ours", "set-cookie": "a=b", "server": "envoy", "x-none": None}


@pytest.mark.parametrize(
    ("accept", "content_type", "begin"),
    [
        ("*/*", "application/problem+json", b'{"type":"about:blank"'),
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("text/plain", "text/plain; charset=utf-8", b"Access denied. Use /ways & <b>means</b>. (reason denied_by_rule"),
    ],
)
def test_a_denial_comes_in_the_form_that_the_client_accepts(
    stack: Stack, accept: str, content_type: str, begin: bytes
) -> None:
    """A problem for programs, a page for people, a line for terminals."""
    ask = Ask(target="/gone", headers=[("accept", accept)])
    reply = http1(stack.identities.caller("web"), stack.port, ask)
    assert (reply.status, reply.headers["content-type"]) == (410, content_type)
    assert reply.body.startswith(begin)
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_headers_and_parameters_are_taken_away_and_put_in_place(stack: Stack) -> None:
    """All copies of a header in any case, all values of a parameter; what is not named stays as it was."""
    sent = [("X-Debug", "1"), ("x-debug", "2"), ("cookie", "a=b"), ("x-kept", "1")]
    target = "/query?a=1&tenant=forged&tenant=again&t=t1&secret=s&debug&secret=s2&b=%20x"
    reply = http1(stack.identities.caller("web"), stack.port, Ask(target=target, headers=sent)).json()
    assert sorted(reply["query"].split("&")) == ["a=1", "b=%20x", "fixed=1", "t=t1", "tenant=t1"]
    assert {"x-debug", "cookie", "x-kept"} & set(reply["headers"]) == {"x-kept"}


def test_a_text_for_the_metadata_is_in_the_access_log(stack: Stack) -> None:
    """Beside what every decision says of itself."""
    assert http1(stack.identities.caller("web"), stack.port, Ask(target="/marked")).status == 200
    line = stack.access(path="/marked")
    assert line["answer"] == {"tier": "gold", "caller": WEB}
    assert (line["decision"], line["reason"], line["rule"]) == ("allow", "allowed", "orders/marked")


@pytest.mark.parametrize("send", [http1, http2])
def test_a_rule_words_its_denial(stack: Stack, send: Callable[[Caller, int, Ask], Reply]) -> None:
    """Status, body and headers are the rule's, whatever form the client would like."""
    ask = Ask("PUT", "/own-words", headers=[("accept", "text/html")])
    reply = send(stack.identities.caller("web"), stack.port, ask)
    assert (reply.status, reply.body) == (451, b"Not in PUT land.")
    told = {name: reply.headers.get(name) for name in ("content-type", "x-why", "set-cookie", "cache-control")}
    assert told == {"content-type": "text/x-ours", "x-why": "law", "set-cookie": "a=b", "cache-control": "no-store"}
    assert stack.access(decision_id=reply.decision_id)["rule"] == "orders/own-words"


def test_answers_reach_grpc_services_and_their_callers(stack: Stack) -> None:
    """The service gets headers as metadata; a denial is a status with the rule's body as its message."""
    web = stack.identities.caller("web")
    forged = [("x-user", "root"), ("x-role", "admin"), ("x-debug", "1")]
    assert grpc_say(web, stack.port, GRPC_HOST, b"hello", metadata=forged) == b"hello"
    seen = stack.grpc.seen()[-1].headers
    assert {name: seen.get(name) for name, _ in forged} == {"x-user": "nobody", "x-role": None, "x-debug": None}
    with pytest.raises(grpc.RpcError) as denied:
        grpc_say(web, stack.port, GRPC_HOST, b"hello", ECHO_METHOD.replace("Say", "Worded"))
    assert (denied.value.code(), denied.value.details()) == (grpc.StatusCode.UNAVAILABLE, "Slow down.")


FORGERIES = {
    "one": [("x-user", "root")],
    "in another case": [("X-USER", "root")],
    "two": [("x-user", "root"), ("X-User", "admin")],
    "appended": [("x-user", "a, root")],
    "empty": [("x-user", "")],
    "of a name that no rule sets": [("x-role", "admin"), ("X-Role", "root")],
    "named as of the connection": [("x-user", "root"), ("connection", "x-user")],
    "with a body that is waited for": [("x-user", "root"), ("expect", "100-continue"), ("content-length", "0")],
}


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=list(FORGERIES))
@pytest.mark.parametrize(
    ("host", "target", "user"),
    [
        ("orders.shop.example", "/marked", WEB),
        ("orders.shop.example", "/plain", None),
        ("legacy.shop.example", "/some", "nobody"),
        ("legacy.shop.example", "/other", None),
    ],
    ids=["a rule says who", "no rule says who", "a rule of a service in audit says who", "denied in audit"],
)
def test_only_we_say_who_calls(
    stack: Stack, forged: list[tuple[str, str]], host: str, target: str, user: str | None
) -> None:
    """RESP-04: the client's own word never arrives."""
    reply = http1(stack.identities.caller("web"), stack.port, Ask(target=target, authority=host, headers=forged))
    assert reply.status == 200, reply
    headers = reply.json()["headers"]
    assert (headers.get("x-user"), headers.get("x-role")) == (user, None)


@pytest.mark.parametrize("name", ["x_user", "X_User", "x_role"])
@pytest.mark.parametrize("target", ["/marked", "/plain"])
def test_an_underscore_makes_no_other_header(stack: Stack, name: str, target: str) -> None:
    """Envoy refuses it before we do."""
    ask = Ask(target=target, headers=[(name, "root")])
    assert http1(stack.identities.caller("web"), stack.port, ask).status == 400


@pytest.mark.parametrize(("target", "user"), [("/known", WEB), ("/all", None)])
def test_only_we_say_who_opens_a_websocket(stack: Stack, sockets: Upstream, target: str, user: str | None) -> None:
    """The same for the request that asks for an upgrade, also where it names the header as one of the connection."""
    for connection in ("Upgrade", "Upgrade, x-user"):
        upgrade = [("connection", connection), ("upgrade", "websocket"), ("x-user", "root"), ("x-role", "admin")]
        opened = http1_tunnel(stack.identities.caller("web"), stack.port, Ask("GET", target, SOCKETS, upgrade))
        assert opened.status == 101
        headers = sockets.seen()[-1].headers
        assert (headers.get("x-user"), headers.get("x-role")) == (user, None)
