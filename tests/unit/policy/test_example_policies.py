"""The policies that come with the product fit the demo's configuration; `authz test` says whether they are right."""

from pathlib import Path

from authz_server.policy.compiler import KnownNames
from authz_server.policy.loader import load_policies

POLICIES = Path(__file__).parents[3] / "policies"
DEMO = KnownNames(issuers=frozenset({"corp"}), trust_domains=frozenset({"shop.example"}))


def test_the_examples_are_three_services() -> None:
    """The ones that the demo runs, each under its folder's name."""
    loaded = load_policies(POLICIES, DEMO)
    assert loaded.plan is not None, "\n".join(map(str, loaded.problems))
    assert [service.name for service in loaded.plan.services] == ["shop/inventory", "shop/orders", "shop/web"]
