"""Opaque tokens, through a real Envoy: the issuer is asked, once, and nobody else waits for it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from msgspec import Struct

from tests.envoy.clients import Ask, Http1, Reply, http1
from tests.envoy.stack import ISSUER as CORP
from tests.envoy.stack import Stack, Variant, admin_get, running_stack
from tests.introspection_server import (
    AUDIENCE,
    CLIENT,
    ISSUER,
    SECRET,
    Answer,
    Held,
    IntrospectionServer,
    claims,
    introspection_server,
    said,
    sent,
)

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - {id: readers, effect: allow, from: [{users: {issuer: asked, scopes: ["orders:read"]}}]}
          - {id: open, effect: allow, from: anyone, to: [{paths: [/open]}]}
    """,
}
TIMEOUT_S = 2.0


class Setup(Struct, frozen=True, eq=False):
    """The issuer that is asked, and the stack that asks it."""

    issuer: IntrospectionServer
    stack: Stack

    def ask(self, token: str | None, target: str = "/") -> Reply:
        """A request with this token."""
        ask = Ask(target=target, headers=[("authorization", f"Bearer {token}")] if token else [])
        return http1(self.stack.identities.caller("web"), self.stack.port, ask)


@pytest.fixture(scope="module", name="setup")
def _setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    directory = tmp_path_factory.mktemp("opaque")
    (directory / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    with introspection_server() as issuer:
        introspection = {
            "url": issuer.url,
            "client_id": CLIENT,
            "client_secret_file": "secret",
            "timeout": f"{TIMEOUT_S:g}s",
            "max_age": "10m",
        }
        asked = {"issuer": ISSUER, "audiences": [AUDIENCE], "keys": {"none": True}, "introspection": introspection}
        variant = Variant(
            # One worker: each asks for itself.
            settings={"issuers": {"asked": asked}, "workers": 1},
            # Which is the timeout of each try too.
            # Denials must be our own: what Envoy takes for a failure would pass.
            envoy={"max_interval: 0.250s": "max_interval: 4s", "failure_mode_allow: false": "failure_mode_allow: true"},
        )
        with running_stack(directory, POLICIES, variant) as stack:
            yield Setup(issuer, stack)


def test_a_good_token_is_asked_about_once(setup: Setup) -> None:
    """The record names the user; a second request is decided from memory."""
    setup.issuer.answers["good"] = said(claims("ann"))
    assert [setup.ask("good").status for _ in range(3)] == [200, 200, 200]
    assert setup.issuer.asked.count("good") == 1
    assert setup.stack.record(rule="orders/readers")["user"] == {"issuer": "asked", "subject": "ann"}
    assert setup.stack.metric("authz_introspections_total", issuer="asked", result="accepted") >= 1


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the connection instead of an answer."""
    request.close_connection = True


def trickle(request: BaseHTTPRequestHandler) -> None:
    """A byte now and then, and never the end; until nobody listens any more."""
    request.send_response(200)
    request.send_header("content-type", "application/json")
    request.end_headers()
    try:
        while not request.rfile.closed:
            request.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        request.close_connection = True


BAD: dict[str, tuple[Answer, int, str]] = {
    "inactive": (said({"active": False}), 401, "token_invalid"),
    "expired": (said(claims(exp=1)), 401, "token_expired"),
    "for-somebody-else": (said(claims(aud="bank")), 401, "token_invalid"),
    "of-nobody": (said(claims(sub=None)), 401, "token_invalid"),
    "lying-true": (said(claims(active="true")), 503, "issuer_unavailable"),
    "lying-1": (said(claims(active=1)), 503, "issuer_unavailable"),
    "no-json": (sent(b"active: true"), 503, "issuer_unavailable"),
    "a-page": (sent(b'{"active": true}', kind="text/html"), 503, "issuer_unavailable"),
    "too-large": (sent(b" " * 70_000), 503, "issuer_unavailable"),
    "redirect": (sent(b"", 302, location="https://elsewhere.example/"), 503, "issuer_unavailable"),
    "broken": (sent(b"", 500), 503, "issuer_unavailable"),
    "hangs-up": (hang_up, 503, "issuer_unavailable"),
    "trickles": (trickle, 503, "issuer_unavailable"),
}


@pytest.mark.parametrize("token", BAD)
def test_any_other_token_is_denied(setup: Setup, token: str) -> None:
    """As not good where the issuer says so, as not available where nothing can be used; before Envoy gives up."""
    setup.issuer.answers[token], status, reason = BAD[token]
    reply = setup.ask(token)
    assert reply.status == status
    assert setup.stack.record(decision_id=reply.decision_id)["reason"] == reason
    assert reply.headers.get("retry-after") == ("1" if status == 503 else None)


def test_a_hundred_requests_are_one_question(setup: Setup) -> None:
    """All of them are allowed by one answer."""
    held = Held(said(claims("bob")))
    setup.issuer.answers["shared"] = held
    web = setup.stack.identities.caller("web")
    ask = Ask(headers=[("authorization", "Bearer shared")])
    with ExitStack() as stack:
        # Handshakes take longer than an answer may: they come first.
        clients = [stack.enter_context(closing(Http1(web, setup.stack.port))) for _ in range(100)]
        for client in clients:
            client.connect()
        for client in clients:
            client.send_request(ask)
        assert held.asked.wait(30)
        held.released.set()
        assert {client.read_reply().status for client in clients} == {200}
    assert setup.issuer.asked.count("shared") == 1


def test_a_stalled_issuer_holds_up_nobody_else(setup: Setup) -> None:
    """Requests without such a token, or with one that is known, are decided meanwhile."""
    setup.issuer.answers["known"] = said(claims("ann"))
    assert setup.ask("known").status == 200
    held = Held(said(claims("eve")))
    setup.issuer.answers["stalled"] = held
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(setup.ask, "stalled")
        assert held.asked.wait(30)
        assert setup.ask(None, "/open").status == 200
        assert setup.ask("known").status == 200
        assert not waiting.done()
        held.released.set()
        assert waiting.result().status == 200


def test_the_client_s_secret_and_tokens_are_nowhere(setup: Setup) -> None:
    """Neither in logs, records and metrics, nor in what the machine shows of the processes."""
    setup.issuer.answers["token-of-ann"] = said(claims("ann"))
    assert setup.ask("token-of-ann").status == 200
    assert setup.ask("token-of-nobody").status == 401
    setup.stack.record(reason="token_invalid")
    pid = setup.stack.server.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    shown = [Path(f"/proc/{each}/{file}").read_text() for each in [pid, *children] for file in ("environ", "cmdline")]
    everything = "".join(
        [setup.stack.log(), str(setup.stack.records()), admin_get(setup.stack.directory, "/metrics")[1], *shown]
    )
    for secret in (SECRET, "s3cret", "token-of-ann", "token-of-nobody"):
        assert secret not in everything


def test_a_jwt_of_another_issuer_is_shown_to_nobody(setup: Setup) -> None:
    """Of this one, which has no keys, it is asked about."""
    other, own = setup.stack.token("ann", iss=CORP), setup.stack.token("ann", iss=ISSUER)
    setup.issuer.answers[own] = said(claims("ann"))
    assert setup.ask(other).reason == "token_invalid"
    assert setup.ask(own).status == 200
    assert other not in setup.issuer.asked
