"""What an answer changes on the way to the service and back, as a real Envoy does it."""

from collections.abc import Iterator

import pytest

from tests.envoy.clients import Ask, http1
from tests.envoy.stack import Stack, Variant, running_stack

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
    """,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with these policies."""
    with running_stack(tmp_path_factory.mktemp("answers"), POLICIES, Variant()) as running:
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
