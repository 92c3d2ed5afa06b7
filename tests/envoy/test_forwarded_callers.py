"""Callers behind a trusted proxy, through a real Envoy that appends to `x-forwarded-client-cert`."""

from collections.abc import Iterator

import pytest

from tests.envoy.clients import Ask, http1
from tests.envoy.identities import BATCH, WEB
from tests.envoy.stack import Stack, Variant, running_stack

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: the-front-reads
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
    """,
}
SETTINGS = {"workloads": {"trust_domains": {"shop.example": {}}, "xfcc": {"hops": [BATCH]}}}
H = "a" * 64


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack in which one workload is a proxy for others."""
    variant = Variant(settings=SETTINGS, append_client_certificate=True)
    with running_stack(tmp_path_factory.mktemp("forwarded"), POLICIES, variant) as running:
        yield running


@pytest.mark.parametrize(
    ("peer", "header", "status", "workload", "via"),
    [
        ("batch", f"By={BATCH};Hash={H};URI={WEB}", 200, WEB, BATCH),
        ("batch", f"By={BATCH};Hash={H};URI=spiffe://shop.example/ns/back/sa/x", 403, None, BATCH),
        ("batch", None, 403, None, None),
        ("batch", f"By={WEB};Hash={H};URI={WEB}", 403, None, None),
        ("batch", f"By={BATCH};Hash={H};URI={WEB},By={BATCH};Hash={H};URI={BATCH}", 403, None, None),
        ("web", f"By={WEB};Hash={H};URI=spiffe://shop.example/admin", 200, WEB, None),
        ("web", "nonsense", 200, WEB, None),
        (None, f"By={BATCH};Hash={H};URI={WEB}", 403, None, None),
    ],
    ids=["proxy", "other caller", "nobody behind", "not its element", "forged", "no proxy", "nonsense", "anonymous"],
)
def test_only_a_named_proxy_speaks_for_others(
    stack: Stack, peer: str | None, header: str | None, status: int, workload: str | None, via: str | None
) -> None:
    """Its word is taken, and on record; everybody else is who the certificate says, or nobody."""
    headers = [] if header is None else [("x-forwarded-client-cert", header)]
    reply = http1(stack.identities.caller(peer), stack.port, Ask(headers=headers))
    assert reply.status == status
    if status == 200:
        decision_id = stack.access(request_id=reply.json()["headers"]["x-request-id"])["decision_id"]
    else:
        decision_id = reply.decision_id
    record = stack.record(decision_id=decision_id)
    assert record["via"] == via
    if workload is not None:
        assert record["workload"] == workload
