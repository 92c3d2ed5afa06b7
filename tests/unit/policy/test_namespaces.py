"""What folders may speak for."""

from pathlib import Path

import pytest

from authz_server.policy.loader import load_policies
from tests.builders import write_policies

SERVICE = """
    kind: service
    name: orders
    hosts: [{host}]
    rules:
      - {{id: read, effect: allow, from: [{{workloads: ["spiffe://{domain}/a"]}}]}}
"""
HOSTS = "kind: namespace\nhosts: {hosts}\n"


def fits(directory: Path, hosts: str, host: str, *, folder: str = "shop") -> bool:
    """Whether a service below the namespace of these hosts may have this one."""
    files = {
        "shop/namespace.yaml": HOSTS.format(hosts=hosts),
        f"{folder}/orders.yaml": SERVICE.format(host=host, domain="shop.example"),
    }
    write_policies(directory, files)
    loaded = load_policies(directory)
    assert {problem.code for problem in loaded.problems} <= {"beyond_namespace"}
    return loaded.plan is not None


@pytest.mark.parametrize(
    ("hosts", "host", "expected"),
    [
        ("[a.example]", "a.example", True),
        ("[a.example]", "'a.example:80'", True),
        ("['a.example:80']", "a.example", False),
        ("['a.example:80']", "'a.example:81'", False),
        ("[a.example]", "b.a.example", False),
        ("['*.a.example']", "b.a.example", True),
        ("['*.a.example']", "c.b.a.example", True),
        ("['*.a.example']", "'*.a.example'", True),
        ("['*.a.example']", "'*.b.a.example'", True),
        ("['*.a.example']", "a.example", False),
        ("['*.a.example']", "ba.example", False),
        ("['*.b.a.example']", "'*.a.example'", False),
        ("['*.a.example']", "'*'", False),
        ("['*']", "'*'", True),
        ("['*']", "anything.example", True),
        ("[a.example, b.example]", "b.example", True),
    ],
)
def test_the_hosts_of_services_are_within_those_of_the_namespace(
    tmp_path: Path, hosts: str, host: str, expected: bool
) -> None:  # fmt: skip
    """Every host that a service speaks for is one that the folder may speak for."""
    assert fits(tmp_path, hosts, host) is expected


def test_a_namespace_holds_below_its_folder_and_nowhere_else(tmp_path: Path) -> None:
    """Folders beside and above are not concerned."""
    assert not fits(tmp_path / "below", "[a.example]", "b.example", folder="shop/inner/most")
    assert fits(tmp_path / "beside", "[a.example]", "b.example", folder="other")
    assert fits(tmp_path / "above", "[a.example]", "b.example", folder=".")


def test_a_namespace_changes_the_revision_and_no_decision(tmp_path: Path) -> None:
    """It limits what is written, not what is decided."""
    write_policies(tmp_path, {"shop/orders.yaml": SERVICE.format(host="a.example", domain="shop.example")})
    before = load_policies(tmp_path).plan
    write_policies(tmp_path, {"shop/namespace.yaml": "kind: namespace\ntrust_domains: [shop.example]\n"})
    after = load_policies(tmp_path).plan
    assert before is not None
    assert after is not None
    assert before.revision != after.revision
    assert before.services[0].rules[0].callers == after.services[0].rules[0].callers
