"""From a directory to a plan."""

import gc
import os
from pathlib import Path

import pytest

from authz_server.policy.compiler import KnownNames
from authz_server.policy.loader import load_policies
from tests.builders import write_policies

SERVICE = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: first
        effect: allow
        from: [{users: {issuer: corp}, workloads: ["spiffe://shop.example/web"]}]
    """


def test_the_plan_comes_with_its_revision_and_files(tmp_path: Path) -> None:
    """The revision of the plan is the hash of all files, tests included, of which each has a hash of its own."""
    write_policies(
        tmp_path,
        {
            "shop/orders.yaml": SERVICE,
            "shop/orders_test.yaml": "kind: tests\nmatrix: {callers: [anonymous], requests: {a: GET /}}\n",
        },
    )
    loaded = load_policies(tmp_path)
    assert loaded.problems == ()
    assert loaded.plan is not None
    assert loaded.plan.revision == loaded.revision
    assert [service.name for service in loaded.plan.services] == ["shop/orders"]
    assert sorted(loaded.files) == ["shop/orders.yaml", "shop/orders_test.yaml"]
    assert all(len(digest) == 64 for digest in loaded.files.values())


@pytest.mark.parametrize(
    "files", [{}, {"README.md": ""}, {"roles.yaml": "kind: roles\nroles: {support: [{users: any}]}\n"}]
)
def test_a_directory_without_a_service_is_a_problem(files: dict[str, str], tmp_path: Path) -> None:
    """It would deny everything, which nobody means who names a directory."""
    loaded = load_policies(write_policies(tmp_path, files))
    assert loaded.plan is None
    assert [str(problem) for problem in loaded.problems] == [
        f"{tmp_path}:1:1: no service is defined below `{tmp_path}`, so every request would be denied\n"
        "    write a file such as `orders.yaml` that begins with `kind: service`"
    ]


def test_a_directory_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """With the same code as an empty one."""
    (problem,) = load_policies(tmp_path / "none").problems
    assert (problem.code, problem.message) == (
        "missing_directory",
        "the directory cannot be read: No such file or directory",
    )


def test_a_syntax_error_in_one_file_hides_no_error_in_another(tmp_path: Path) -> None:
    """But roles that nobody defines are no error then: they may stand in the file that cannot be read."""
    files = {
        "orders.yaml": SERVICE.replace("users: {issuer: corp}", "roles: [support], userz: any"),
        "roles.yaml": "kind: roles\nroles:\n  support: [\n",
    }
    codes = [problem.code for problem in load_policies(write_policies(tmp_path, files)).problems]
    assert codes == ["unknown_field", "yaml_syntax"]
    os.remove(tmp_path / "roles.yaml")
    write_policies(tmp_path, {"orders.yaml": SERVICE.replace("users: {issuer: corp}", "roles: [support]")})
    assert [problem.code for problem in load_policies(tmp_path).problems] == ["unknown_role"]


def test_issuers_and_trust_domains_are_checked_where_a_configuration_names_them(tmp_path: Path) -> None:
    """Without one they may be anything."""
    write_policies(tmp_path, {"orders.yaml": SERVICE})
    assert load_policies(tmp_path).problems == ()
    known = KnownNames(issuers=frozenset({"corp"}), trust_domains=frozenset({"shop.example"}))
    assert load_policies(tmp_path, known).problems == ()
    nothing = KnownNames(issuers=frozenset(), trust_domains=frozenset())
    codes = {problem.code for problem in load_policies(tmp_path, nothing).problems}
    assert codes == {"unknown_issuer", "unknown_trust_domain"}


@pytest.mark.parametrize("answer", ["{set_headers: {X-Authz-Token: \"'root'\"}}", "{remove_headers: [x-authz-token]}"])
def test_no_rule_writes_the_header_that_the_server_writes(tmp_path: Path, answer: str) -> None:
    """What is there would depend on who came last."""
    rule = f"{{id: own, effect: allow, from: anyone, answer: {answer}}}"
    text = f"kind: service\nname: own\nhosts: [own.shop.example]\nrules:\n  - {rule}\n"
    write_policies(tmp_path, {"own.yaml": text})
    assert load_policies(tmp_path).problems == ()
    known = KnownNames(frozenset(), frozenset(), written_headers=frozenset({"x-authz-token"}))
    [problem] = load_policies(tmp_path, known).problems
    assert problem.message == "the header `x-authz-token` holds the token that the server itself makes for the upstream"
    assert problem.position.line == 5


@pytest.mark.parametrize("was_enabled", [True, False])
def test_loading_leaves_the_garbage_collector_as_it_was(was_enabled: bool, tmp_path: Path) -> None:
    """It is off only meanwhile."""
    write_policies(tmp_path, {"orders.yaml": SERVICE})
    enabled = gc.isenabled()
    try:
        (gc.enable if was_enabled else gc.disable)()
        load_policies(tmp_path)
        assert gc.isenabled() is was_enabled
    finally:
        (gc.enable if enabled else gc.disable)()
