"""The client's address, as rules see it through a real Envoy."""

from collections.abc import Iterator
from ipaddress import IPv4Network

import pytest

from tests.envoy.clients import Ask, http1
from tests.envoy.stack import Stack, Variant, running_stack

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - {id: the-office, effect: allow, from: [{networks: ["198.18.7.0/24"]}]}
    """,
}


# To a peer on loopback, as here, Envoy appends its own address instead, whatever that is on this machine.
PROXIES = [str(network) for network in IPv4Network("0.0.0.0/0").address_exclude(IPv4Network("198.18.0.0/16"))]


@pytest.fixture(scope="module", params=[[], PROXIES], ids=["no proxies", "proxies"])
def proxies(request: pytest.FixtureRequest) -> list[str]:
    """The networks of the proxies in front of Envoy."""
    networks: list[str] = request.param
    return networks


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, proxies: list[str]) -> Iterator[Stack]:
    """A stack behind these proxies."""
    variant = Variant(settings={"clients": {"proxies": proxies}})
    with running_stack(tmp_path_factory.mktemp("address"), POLICIES, variant) as running:
        yield running


@pytest.mark.parametrize(
    ("forwarded", "behind"),
    [
        ("198.18.7.7", "198.18.7.7"),
        ("198.18.8.1, 198.18.7.7", "198.18.7.7"),
        ("198.18.8.1, 198.18.7.7, 203.0.113.9", "198.18.7.7"),
        ("198.18.7.7, 198.18.8.1", "198.18.8.1"),
        ("198.18.7.7, nonsense", None),
    ],
    ids=["by a proxy", "a client's word", "two proxies", "a client claims the office", "nonsense"],
)
def test_the_address_is_the_one_that_the_first_proxy_saw(
    stack: Stack, proxies: list[str], forwarded: str, behind: str | None
) -> None:
    """Without proxies the header is nobody's word; with them the client's own entries still are."""
    address = behind if proxies else "127.0.0.1"
    ask = Ask(headers=[("x-forwarded-for", forwarded)])
    reply = http1(stack.identities.caller("web"), stack.port, ask)
    assert reply.status == (200 if address == "198.18.7.7" else 403)
    if reply.status == 403:
        assert stack.record(decision_id=reply.decision_id)["client_ip"] == address
