"""The policies that come with the product."""

from pathlib import Path

import pytest

from authz_server.policy.compiler import KnownNames
from authz_server.policy.loader import load_policies

ROOT = Path(__file__).parents[3]


def test_the_examples_have_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the names of the demo either."""
    monkeypatch.chdir(ROOT)
    known = KnownNames(issuers=frozenset({"corp"}), trust_domains=frozenset({"shop.example"}))
    loaded = load_policies(Path("policies"), known)
    assert list(map(str, loaded.problems)) == []
    assert loaded.plan is not None
    assert [service.name for service in loaded.plan.services] == ["shop/inventory", "shop/orders", "shop/web"]
