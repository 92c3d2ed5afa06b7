"""Which service speaks for a host and path."""

import pytest

from authz_server.model import Path
from authz_server.policy import hosts
from authz_server.policy.folding import fold_segment
from authz_server.policy.hosts import HostIndex


@pytest.fixture(scope="module", name="index")
def _index() -> HostIndex[str]:
    index: HostIndex[str] = HostIndex()
    for host, prefix, service in [
        ("orders.shop.example", "/", "orders"),
        ("orders.shop.example", "/api", "api"),
        ("orders.shop.example", "/api/v2", "api-2"),
        ("orders.shop.example:8443", "/", "orders-8443"),
        ("*.shop.example", "/", "shop"),
        ("*.eu.shop.example", "/", "eu"),
        ("*", "/", "rest"),
        ("api.example", "/api", "only-api"),
    ]:
        index.add(host, prefix, service)
    return index


@pytest.mark.parametrize(
    ("host", "port", "path", "service"),
    [
        ("orders.shop.example", None, (), "orders"),
        ("orders.shop.example", 80, (), "orders"),
        ("orders.shop.example", 8443, (), "orders-8443"),
        ("orders.shop.example", None, ("api",), "api"),
        ("orders.shop.example", None, ("api", "v1"), "api"),
        ("orders.shop.example", None, ("api", "v2", "x"), "api-2"),
        ("orders.shop.example", None, ("apis",), "orders"),
        ("web.shop.example", None, (), "shop"),
        ("a.b.shop.example", None, (), "shop"),
        ("a.eu.shop.example", None, (), "eu"),
        ("eu.shop.example", None, (), "shop"),
        ("shop.example", None, (), "rest"),
        ("evilshop.example", None, (), "rest"),
        ("api.example", None, ("api", "x"), "only-api"),
        ("api.example", None, ("other",), "rest"),
    ],
)
def test_the_most_exact_host_and_the_longest_prefix_speak(
    index: HostIndex[str], host: str, port: int | None, path: tuple[str, ...], service: str
) -> None:
    """Exact before wildcard, with its port before without, long prefixes before short ones, by whole segments."""
    assert index.find(host, port, Path(path, False)) == service


@pytest.mark.parametrize(
    "path", [("API",), ("Api", "v1"), ("api.",), ("api ", "x"), ("api", "V2", "x"), ("api", "v2.")]
)
def test_a_path_that_is_claimed_but_for_its_spelling_belongs_to_nobody(
    index: HostIndex[str], path: tuple[str, ...]
) -> None:
    """A backend may serve it as the claimed one, whose rules would not have been asked."""
    assert index.find("orders.shop.example", None, Path(path, False)) is None


def test_no_service_for_an_unknown_host() -> None:
    """Without `*`, what nobody claims has no service."""
    index: HostIndex[str] = HostIndex()
    index.add("orders.shop.example", "/", "orders")
    assert index.find("web.shop.example", None, Path((), True)) is None


def test_finding_a_prefix_takes_no_longer_the_more_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services that share a host are not asked one after the other."""
    folded: list[str] = []

    def counted(segment: str) -> str:
        folded.append(segment)
        return fold_segment(segment)

    monkeypatch.setattr(hosts, "fold_segment", counted)
    steps = []
    for number in (10, 1000):
        index: HostIndex[str] = HostIndex()
        for service in range(number):
            index.add("shop.example", f"/api/v{service}", f"v{service}")
        folded.clear()
        assert index.find("shop.example", None, Path(("api", "v7", "orders", "1"), False)) == "v7"
        steps.append(len(folded))
    assert steps == [2, 2]
