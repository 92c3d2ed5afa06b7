"""Bodies that rules read, and metadata of other filters, through a real Envoy."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.envoy.clients import Ask, Caller, Reply, http1, http2
from tests.envoy.stack import GRPC_HOST, Stack, Variant, running_stack

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        body: json
        rules:
          - {id: pay, effect: allow, from: anyone, to: [{paths: [/pay]}], when: body.amount <= 100}
          - {id: pay-nothing, effect: allow, from: anyone, to: [{paths: [/pay]}], when: "!has_body"}
          - {id: upload, effect: allow, from: anyone, to: [{paths: [/upload]}]}
          - {id: gold, effect: allow, from: anyone, to: [{paths: [/gold]}],
             when: 'metadata["tier.filter"].tier == "gold" && size(metadata) == 1'}
          - {id: no-banned, effect: deny, to: [{paths: [/gold]}], when: 'has(metadata["tier.filter"].banned)'}
    """,
    # Envoy sends no bodies of this host.
    "grpc.yaml": f"""
        kind: service
        name: grpc
        hosts: [{GRPC_HOST}]
        body: json
        rules:
          - {{id: no-body, effect: allow, from: anyone, when: "!has_body"}}
    """,
}
MAX_BODY = 1024
METADATA = """          http_filters:
          - name: envoy.filters.http.header_to_metadata
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
              request_rules:
              - {header: x-tier, remove: true, on_header_present: {metadata_namespace: tier.filter, key: tier}}
              - {header: x-ban, remove: true, on_header_present: {metadata_namespace: tier.filter, key: banned}}
              - {header: x-other, remove: true, on_header_present: {metadata_namespace: other.filter, key: tier}}
"""
VARIANT = Variant(
    settings={"bodies": {"max": "1KiB"}, "metadata": {"namespaces": ["tier.filter"]}},
    max_body=MAX_BODY,
    metadata=("tier.filter", "other.filter"),
    envoy={"          http_filters:\n": METADATA},
)
Send = Callable[[Caller, int, Ask], Reply]
JSON = ("content-type", "application/json")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose Envoy sends bodies and metadata."""
    with running_stack(tmp_path_factory.mktemp("bodies"), POLICIES, VARIANT) as running:
        yield running


@pytest.fixture(params=[http1, http2], ids=["HTTP/1.1", "HTTP/2"])
def send(request: pytest.FixtureRequest) -> Send:
    """A client of each protocol."""
    chosen: Send = request.param
    return chosen


def of_size(size: int) -> bytes:
    """A small amount in a body of so many bytes."""
    return b'{"amount": 5}'.ljust(size)


def post(stack: Stack, send: Send, path: str, body: bytes | None, *, counted: bool = False, **fields: Any) -> Reply:
    """The answer to a body, with or without a content-length."""
    headers = [JSON, *fields.pop("headers", [])]
    if counted and body is not None:
        headers.append(("content-length", str(len(body))))
    ask = Ask("POST", path, headers=headers, body=body, **fields)
    return send(stack.identities.caller("web"), stack.port, ask)


@pytest.mark.parametrize("counted", [True, False], ids=["content-length", "without"])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"amount": 5}', None),
        (of_size(MAX_BODY), None),
        (b'{"amount": 101}', "no_rule_allows"),
        (b'{"amount": "5"}', "no_rule_allows"),
        (b'{"amount": 5, "amount": 101}', "no_rule_allows"),
        (b'{"amount": 5, "x": "\xff"}', "no_rule_allows"),
        (b"amount=5", "no_rule_allows"),
        (b"", None),
        (of_size(MAX_BODY + 1), "body_incomplete"),
        (of_size(MAX_BODY + 2), "body_incomplete"),
        (of_size(50_000), "body_incomplete"),
    ],
    ids=lambda value: repr(value[:20]) + str(len(value)) if isinstance(value, bytes) else None,
)
def test_a_rule_reads_the_whole_body_or_denies(
    stack: Stack, send: Send, counted: bool, body: bytes, reason: str | None
) -> None:
    """Up to the bound, in either protocol, as chunks, as frames, or with a length; a larger one is cut by Envoy."""
    reply = post(stack, send, "/pay", body, counted=counted)
    assert (reply.status == 200, reply.reason) == (reason is None, reason)
    if reason is None:
        inputs = stack.record(rule="orders/pay" if body else "orders/pay-nothing", reason="allowed")["inputs"]
        assert inputs.get("body.amount") == (5 if body else None)


def test_a_request_without_a_body_has_none(stack: Stack, send: Send) -> None:
    """The route says that bodies are sent, so that there is none where none comes."""
    assert post(stack, send, "/pay", None).status == 200


def test_a_body_that_goes_on_behind_the_cut_is_incomplete(stack: Stack, send: Send) -> None:
    """Envoy asks when it has enough, and does not say that more is to come."""
    body = of_size(MAX_BODY + 1)
    reply = post(stack, send, "/pay", body, ends=False)
    assert reply.reason == "body_incomplete"
    assert stack.record(decision_id=reply.decision_id)["rule"] == "orders/pay"


@pytest.mark.parametrize("forged", ["false", "true", "nonsense"])
def test_the_client_cannot_say_that_a_body_is_whole(stack: Stack, send: Send, forged: str) -> None:
    """Envoy drops a header of that name and writes its own."""
    headers = [("x-envoy-auth-partial-body", forged)]
    assert post(stack, send, "/pay", of_size(2000), headers=headers).reason == "body_incomplete"
    assert post(stack, send, "/pay", of_size(100), headers=headers).status == 200
    assert post(stack, send, "/pay", None, headers=headers).status in (200, 403)


def test_a_form_is_no_json(stack: Stack, send: Send) -> None:
    """A service that goes by the content-type would read something else."""
    form = ("content-type", "application/x-www-form-urlencoded")
    ask = Ask("POST", "/pay", headers=[form], body=b'{"amount": 5}')
    reply = send(stack.identities.caller("web"), stack.port, ask)
    assert reply.reason == "no_rule_allows"
    assert "content-type" in stack.record(decision_id=reply.decision_id)["detail"]


def test_where_no_rule_needs_the_body_it_may_be_large(stack: Stack, send: Send) -> None:
    """And reaches the upstream whole."""
    body = json.dumps({"amount": 1, "text": "x" * 40_000}).encode()
    reply = post(stack, send, "/upload", body, counted=True)
    assert reply.status == 200
    assert reply.json()["headers"]["content-length"] == str(len(body))


@pytest.mark.parametrize("body", [None, b"", b'{"amount": 5}'])
def test_a_body_that_envoy_keeps_back_is_incomplete_and_not_absent(stack: Stack, body: bytes | None) -> None:
    """Without a content-length, a request whose body is kept back looks like one that has none."""
    reply = post(stack, http2, "/x", body, authority=GRPC_HOST)
    assert reply.reason == "body_incomplete"
    reply = post(stack, http2, "/x", b'{"amount": 5}', counted=True, authority=GRPC_HOST)
    assert reply.reason == "body_incomplete"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-tier": "gold"}, None),
        ({"x-tier": "gold", "x-other": "gold"}, None),
        ({"x-tier": "silver"}, "no_rule_allows"),
        ({"x-tier": "gold", "x-ban": "yes"}, "denied_by_rule"),
        ({"x-other": "gold"}, "deny_rule_error"),
        ({}, "deny_rule_error"),
    ],
    ids=str,
)
def test_a_rule_reads_the_metadata_of_a_listed_namespace(
    stack: Stack, send: Send, headers: dict[str, str], reason: str | None
) -> None:
    """Any other is not there, even where Envoy sends it; what is absent is an error."""
    reply = send(stack.identities.caller("web"), stack.port, Ask(target="/gold", headers=list(headers.items())))
    assert (reply.status == 200, reply.reason) == (reason is None, reason)
    if reason is None:
        assert stack.record(rule="orders/gold")["inputs"]["metadata[tier.filter].tier"] == "gold"
