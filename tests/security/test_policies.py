"""Attacks on policies, and on the files that they are in."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from authz_server.control.policies import PolicyDirectory
from authz_server.control.settings import Settings
from authz_server.errors import Reason
from authz_server.policy.compiler import KnownNames
from authz_server.policy.loader import load_policies
from authz_server.telemetry.control_metrics import ControlMetrics
from tests.builders import write_policies
from tests.security.server import Ask, Server, assert_denied

SERVICE = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - {id: all, effect: allow, from: anyone, to: [{paths: [/a]}]}
"""
NOBODY = KnownNames(issuers=frozenset(), trust_domains=frozenset())


def refused(directory: Path, text: str, code: str = "") -> None:
    """The whole edit is refused, with a place and words."""
    loaded = load_policies(write_policies(directory, {"orders.yaml": text}))
    assert loaded.plan is None
    assert loaded.problems
    for problem in loaded.problems:
        assert problem.message
        assert problem.position.line >= 1
        assert problem.position.column >= 1
    assert code in {problem.code for problem in loaded.problems} or not code


@pytest.mark.parametrize(
    "condition",
    [
        *('request.headers["x-none"] == ""', 'request.headers["x-none"] != "a"', '!(request.headers["x-none"] == "a")'),
        *('user.subject == "ann"', "user.claims.level == 1", 'request.query["none"][0] == "a"', "1 / 0 == 1"),
        *(
            'request.query["q"][5] == "a"',
            'int(request.query["q"][0]) > 0',
            'workload.id == ""',
            'timestamp(request.query["q"][0]) < now',
        ),
    ],
)
def test_pol_01_what_cannot_be_evaluated_allows_nothing_and_denies(tmp_path: Path, condition: str) -> None:
    """A missing attribute is an error and no empty text: an allow rule does not apply, a deny rule denies."""
    rule = f"  - {{id: r, effect: EFFECT, from: anyone, to: [{{paths: [/a]}}], when: '{condition}'}}\n"
    head = SERVICE.partition("  - ")[0]
    allow = Server(tmp_path / "allow", head + rule.replace("EFFECT", "allow"))
    assert not allow.ask(Ask(path="/a?q=x")).allowed
    deny = Server(tmp_path / "deny", SERVICE + rule.replace("EFFECT", "deny"))
    assert_denied(deny.ask(Ask(path="/a?q=x")), Reason.DENY_RULE_ERROR, Reason.DENIED_BY_RULE)
    assert Server(tmp_path / "none", SERVICE).ask(Ask(path="/a?q=x")).allowed


def directory_of(path: Path) -> PolicyDirectory:
    """What a server reads."""
    return PolicyDirectory(path, NOBODY, ControlMetrics(path.parent / "metrics"))


def test_pol_02_without_policies_nothing_passes(tmp_path: Path) -> None:
    """No directory, no files; while running the last good ones stay, with an alarm."""
    server = Server(tmp_path / "server", SERVICE)
    server.service.snapshot = None
    assert_denied(server.ask(Ask(path="/a")), Reason.NOT_READY)
    policies = directory_of(tmp_path / "policies")
    assert not policies.reread()
    assert policies.plan is None
    write_policies(tmp_path / "policies", {"orders.yaml": SERVICE})
    assert policies.reread()
    good = policies.plan
    (tmp_path / "policies" / "orders.yaml").unlink()
    assert not policies.reread()
    assert policies.plan is good
    assert policies.problems


@pytest.mark.parametrize(
    "condition",
    [
        'request.path.matches(request.query["q"][0])',
        'request.path.matches("(a+)+" + request.method)',
        'request.path.matches("(?=a)b")',
        'request.path.matches("(a)\\\\1")',
        'request.path.matches("a{1001}")',
        'request.path.matches("(")',
    ],
)
def test_pol_03_regular_expressions_are_linear_and_constant(tmp_path: Path, condition: str) -> None:
    """Those made of request data, with look-around or back references, or too large are refused when loaded."""
    refused(tmp_path, SERVICE + f"  - {{id: r, effect: deny, when: '{condition}'}}\n")


def test_pol_03_a_classic_bomb_costs_nothing(tmp_path: Path) -> None:
    """Nested repetition over a long path that nearly fits."""
    rule = "  - {id: r, effect: deny, when: 'request.path.matches(\"^/(a+)+$\")'}\n"
    server = Server(tmp_path, SERVICE + rule)
    assert_denied(server.ask(Ask(path="/" + "a" * 30_000 + "!")), Reason.NO_RULE_ALLOWS, Reason.DENY_RULE_ERROR)
    assert_denied(server.ask(Ask(path="/aaaa")), Reason.DENIED_BY_RULE)


@pytest.mark.parametrize(
    "condition",
    [
        *('"a"', "1", "null", "[true]", "request", "now", "user.claims.a", 'request.query["a"]'),
        *("true" + " && true" * 1000, "(" * 200 + "true" + ")" * 200, "'" + "a" * 5000 + "' == ''"),
        "[1].all(a, [1].all(b, [1].all(c, a == b)))",
        *("nothing", "request.nothing", "true &&", "a b"),
    ],
)
def test_pol_04_conditions_are_bounded_and_of_type_bool(tmp_path: Path, condition: str) -> None:
    """4 KiB, depth, nested macros, type: checked when they are loaded."""
    quoted = condition.replace("'", "''")
    refused(tmp_path, SERVICE + f"  - {{id: r, effect: deny, when: '{quoted}'}}\n")


YAML = {
    "duplicate key": SERVICE + "name: other\n",
    "merge key": SERVICE + "x: {<<: {a: 1}}\n",
    "anchor": SERVICE.replace("[orders", "&a [orders"),
    "alias": SERVICE.replace("hosts: [", "hosts: &a [").replace("rules:", "x: *a\nrules:"),
    "tag": SERVICE.replace("name: orders", "name: !!python/object:os.system orders"),
    "several documents": SERVICE + "---\n" + SERVICE,
    "norway": SERVICE.replace("name: orders", "name: no"),
    "octal": SERVICE.replace("name: orders", "name: 010"),
    "float": SERVICE.replace("name: orders", "name: 1.10"),
    "date": SERVICE.replace("name: orders", "name: 2026-03-02"),
    "bidi": SERVICE.replace("name: orders", "name: ord\u202eers"),
    "zero width": SERVICE.replace("name: orders", "name: ord\u200bers"),
    "mark in the middle": SERVICE.replace("name: orders", "name: ord\ufeffers"),
    "NUL": SERVICE.replace("name: orders", "name: ord\0ers"),
    "deep nesting": SERVICE + "x: " + "[" * 2000 + "]" * 2000 + "\n",
    "large": SERVICE + "#" * (1024 * 1024),
    "unknown key": SERVICE.replace("effect:", "efect:"),
    "unknown kind": SERVICE.replace("kind: service", "kind: servise"),
    "no mapping": "- a\n",
    "syntax": SERVICE + "  - {id: [\n",
}


@pytest.mark.parametrize("case", YAML)
def test_pol_05_what_makes_yaml_a_trap_is_refused(tmp_path: Path, case: str) -> None:
    """The whole edit, with file, line and column."""
    assert load_policies(write_policies(tmp_path / "good", {"orders.yaml": SERVICE})).plan is not None
    refused(tmp_path / "bad", YAML[case])


def _outside(directory: Path) -> None:
    write_policies(directory.parent / "outside", {"a.yaml": SERVICE})
    os.symlink("../outside/a.yaml", directory / "x.yaml")


def _loop(directory: Path) -> None:
    os.symlink("x.yaml", directory / "x.yaml")


def _folder_loop(directory: Path) -> None:
    os.symlink(".", directory / "x")


def _pipe(directory: Path) -> None:
    os.mkfifo(directory / "x.yaml")


def _device(directory: Path) -> None:
    os.symlink("/dev/zero", directory / "x.yaml")


def _writable(directory: Path) -> None:
    write_policies(directory, {"x.yaml": SERVICE.replace("orders", "other")})
    (directory / "x.yaml").chmod(0o666)


def _clash(directory: Path) -> None:
    write_policies(directory, {"x.yaml": SERVICE})


@pytest.mark.parametrize("make", [_outside, _loop, _folder_loop, _pipe, _device, _writable, _clash])
def test_pol_06_what_only_looks_like_a_policy_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Links that leave the directory or go in circles, pipes, devices, what everybody may write, names that clash."""
    directory = write_policies(tmp_path / "policies", {"orders.yaml": SERVICE})
    assert load_policies(directory).plan is not None
    make(directory)
    loaded = load_policies(directory)
    assert loaded.plan is None
    assert loaded.problems


def test_pol_06_leftovers_are_no_policies_and_a_config_map_is(tmp_path: Path) -> None:
    """What editors leave behind is not read; the links of a mounted ConfigMap are followed."""
    directory = write_policies(
        tmp_path / "policies", {"..1/orders.yaml": SERVICE, ".orders.yaml.swp": "x", "a.yaml~": "x"}
    )
    os.symlink("..1", directory / "..data")
    os.symlink("..data/orders.yaml", directory / "orders.yaml")
    plan = load_policies(directory).plan
    assert plan is not None
    assert [service.name for service in plan.services] == ["orders"]


def test_pol_07_each_decision_is_of_one_revision(tmp_path: Path) -> None:
    """A file that is written in pieces is good or refused at each byte; what decides is one revision or the other."""
    directory = write_policies(tmp_path / "policies", {"orders.yaml": SERVICE})
    policies = directory_of(directory)
    policies.reread()
    assert policies.plan is not None
    good = {policies.plan.revision}
    text = SERVICE.replace("/a", "/b").encode()
    whole = load_policies(write_policies(tmp_path / "whole", {"orders.yaml": text.decode()})).plan
    assert whole is not None
    for end in range(0, len(text) + 1, 3):
        (directory / "orders.yaml").write_bytes(text[:end])
        policies.reread()
        rules = [rule for service in policies.plan.services for rule in service.rules]
        # A list of rules that ends early denies more, and never allows what neither version does.
        assert {path for rule in rules for item in rule.operations or () for path in item.paths} <= {"/a", "/b"}
    (directory / "orders.yaml").write_bytes(text)
    policies.reread()
    assert policies.plan.revision == whole.revision
    assert policies.plan.revision not in good


def test_pol_08_an_edit_that_keeps_size_and_time_is_found(tmp_path: Path) -> None:
    """Contents are compared, not what the file system says of them."""
    directory = write_policies(tmp_path / "policies", {"orders.yaml": SERVICE})
    policies, file = directory_of(directory), directory / "orders.yaml"
    policies.reread()
    before, stat = policies.plan, file.stat()
    file.write_text(SERVICE.replace("/a", "/b"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size
    assert policies.reread()
    assert policies.plan is not before
    assert Settings().policies.rescan > 0
