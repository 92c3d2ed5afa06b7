"""Secrets that pass through never stay: not in records, logs, metrics or answers."""

from datetime import timedelta

import pytest

from tests.envoy.clients import Ask, Reply, http1
from tests.envoy.stack import Stack, Variant, admin_get

API_KEY, COOKIE, QUERY_TOKEN = "key-4711-of-ann", "session-0815-of-ann", "query-token-of-ann"
POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: readers-with-a-key
            effect: allow
            from: [{users: {issuer: corp}}]
            to: [{methods: [GET], paths: ["/orders"]}]
            when: request.headers["x-api-key"].startsWith("key-") && !("denied" in request.query)
          - id: nobody-with-this-cookie
            effect: deny
            to: [{paths: ["/deny"]}]
            when: request.headers["cookie"] != ""
          - id: broken
            effect: deny
            to: [{paths: ["/broken"]}]
            when: int(request.headers["x-api-key"]) == 1
    """
}
VARIANT = Variant(settings={"audit": {"file": {"path": "decisions.jsonl"}, "secrets": ["request.headers[x-api-key]"]}})


@pytest.mark.parametrize(
    ("target", "age", "spoilt", "reason"),
    [
        ("/orders", timedelta(), False, "allowed"),
        ("/orders?denied=1", timedelta(), False, "no_rule_allows"),
        ("/deny", timedelta(), False, "denied_by_rule"),
        ("/broken", timedelta(), False, "deny_rule_error"),
        ("/orders", timedelta(hours=1), False, "token_expired"),
        ("/orders", timedelta(), True, "token_invalid"),
        ("/orders;", timedelta(), False, "ambiguous_path"),
    ],
)
def test_no_secret_stays_anywhere(stack: Stack, target: str, age: timedelta, spoilt: bool, reason: str) -> None:
    """Token, key, cookie and query are in no record, log, metric or answer, whatever becomes of the request."""
    token = stack.token("ann", age=age)
    if spoilt:
        token = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    query = f"{'&' if '?' in target else '?'}access_token={QUERY_TOKEN}"
    headers = [("authorization", f"Bearer {token}"), ("x-api-key", API_KEY), ("cookie", f"session={COOKIE}")]
    reply = http1(stack.identities.caller("web"), stack.port, Ask("GET", target + query, headers=headers))
    record = stack.record(reason=reason)
    secrets = [token.rpartition(".")[2], token.split(".")[1], API_KEY, COOKIE, QUERY_TOKEN]
    places = {
        "records": (stack.directory / "decisions.jsonl").read_text(),
        "log": stack.log(),
        "metrics": admin_get(stack.directory, "/metrics")[1],
        "readiness": admin_get(stack.directory, "/readyz")[1],
        "Envoy's access log": (stack.directory / "access.jsonl").read_text(),
        "answer": _denial(reply),
    }
    assert record["path"] == target.partition("?")[0].rstrip(";")
    assert [(place, secret) for place, text in places.items() for secret in secrets if secret in text] == []


def _denial(reply: Reply) -> str:
    """What a denied client reads; an allowed one gets the upstream's answer, which is not ours."""
    return "" if reply.status == 200 else repr(reply)
