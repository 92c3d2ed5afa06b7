"""`authz test`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from tests.builders import write_policies

POLICIES = Path(__file__).parents[3] / "policies"
SERVICE = """\
kind: service
name: orders
hosts: [orders.shop.example]
rules:
  - id: buyers-read
    effect: allow
    from: [{users: {issuer: corp, scopes: ["orders:read"]}}]
    to: [{methods: [GET], paths: ["/orders/{id}"]}]
    when: user.claims.customer == path.id
  - id: nobody-wipes
    effect: deny
    to: [{methods: [DELETE]}]
"""
TESTS = """\
kind: tests
users:
  ann: {issuer: corp, subject: ann, scopes: ["orders:read"], claims: {customer: c7}}
tests:
  - name: hers
    request: {as: ann, method: GET, host: orders.shop.example, path: /orders/c7}
    expect: {decision: allow, rule: buyers-read}
  - name: not hers
    request: {as: ann, method: GET, host: orders.shop.example, path: /orders/c8}
    expect: {decision: deny, reason: no_rule_allows}
"""


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)


def run(*arguments: str, service: str = SERVICE, tests: str = TESTS) -> Result:
    """Run the command on a service and its tests."""
    write_policies(Path("policies"), {"orders.yaml": service, "orders_test.yaml": tests})
    return CliRunner().invoke(app, ["test", *arguments])


def test_the_policies_of_the_project_are_tested_completely() -> None:
    """Every test passes, everything is covered, and no slip goes unnoticed."""
    result = CliRunner().invoke(app, ["test", str(POLICIES), "--coverage", "--fail-under", "100", "--mutate"])
    assert result.exit_code == 0, result.output
    assert "coverage: 100 %" in result.stdout
    assert "no survivor" in result.stdout


def test_tests_that_pass_are_counted() -> None:
    """Exit code 0, and one line."""
    result = run()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "2 tests in 1 file: all passed\n", "")


def test_a_failure_is_explained() -> None:
    """Where it stands, what was expected, what was decided, and the first thing that the expected rule lacked."""
    result = run(service=SERVICE.replace("orders:read", "orders:raed"))
    assert result.exit_code == 1
    assert result.stdout == (
        "policies/orders_test.yaml:5:11: hers\n"
        "    expected  allow by buyers-read\n"
        "    was       deny (no_rule_allows)\n"
        "      orders/buyers-read  user: the scopes lack `orders:raed` (has `orders:read`)\n"
        "\n"
        "2 tests in 1 file: 1 failed\n"
    )


def test_the_rule_that_decided_is_shown_with_its_place() -> None:
    """Of a request that should have been denied."""
    result = run(service=SERVICE.replace("user.claims.customer == path.id", "has_user"))
    assert "was       allow by orders/buyers-read (policies/orders.yaml:5:9)\n" in result.stdout


def test_without_an_expected_rule_each_that_might_have_allowed_is_explained() -> None:
    """Those that are about the request, where there are many."""
    others = "".join(
        f"  - {{id: other-{number}, effect: allow, from: anyone, to: [{{paths: [/other]}}]}}\n" for number in range(10)
    )
    few, many = SERVICE.replace("customer", "number"), SERVICE.replace("customer", "number") + others
    tests = TESTS.replace(", rule: buyers-read", "")
    assert "orders/buyers-read  the condition could not be evaluated" in run(service=few, tests=tests).stdout
    said = run(service=many, tests=tests).stdout
    assert "orders/buyers-read  the condition could not be evaluated" in said
    assert "other-" not in said


def test_tests_are_chosen_by_name() -> None:
    """Without regard to case; of several texts one is enough, and the file counts as well."""
    assert run("-k", "NOT").stdout == "1 test in 1 file: all passed\n"
    assert run("-k", "not", "-k", "hers").stdout == "2 tests in 1 file: all passed\n"
    assert run("-k", "orders_test").stdout == "2 tests in 1 file: all passed\n"


def test_nothing_to_run_is_no_success() -> None:
    """No test, or none with this name: exit code 2."""
    result = run("-k", "nothing like that")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "authz: no test has 'nothing like that' in its name below policies\n"
    Path("policies/orders_test.yaml").unlink()
    result = CliRunner().invoke(app, ["test"])
    assert (result.exit_code, result.stderr) == (2, "authz: there is no test (*_test.yaml) below policies\n")


def test_policies_with_errors_are_not_tested() -> None:
    """They are shown as by `validate`."""
    result = run(service=SERVICE.replace("effect", "efect"))
    assert result.exit_code == 1
    assert "policies/orders.yaml:6:5: unknown field `efect`" in result.stderr


def test_the_configuration_counts() -> None:
    """A policy that names an issuer which it does not have is an error here too."""
    Path("authz.yaml").write_text("issuers: {other: {issuer: 'https://login.example/', audiences: [shop]}}\n")
    assert "unknown issuer `corp`" in run().stderr
    Path("authz.yaml").write_text("issuers: {corp: {issuer: 'https://login.example/', audiences: [shop]}}\n")
    assert run().exit_code == 0


def test_what_no_test_decides_by_is_shown() -> None:
    """With its place; it is a failure only where so much is asked for."""
    result = run("--coverage")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == [
        "coverage: 66.6 % (4 of 6 rules, items and conditions)",
        "  policies/orders.yaml:10:9: orders/nobody-wipes: no test decides by this rule",
        "  policies/orders.yaml:12:10: orders/nobody-wipes: no test decides by item 1 of `to`",
    ]
    assert run("--fail-under", "66").exit_code == 0
    assert run("--fail-under", "67").exit_code == 1
    assert run("--fail-under", "101").exit_code == 2


def test_changes_that_no_test_notices_are_shown() -> None:
    """They are a failure."""
    result = run("--mutate")
    assert result.exit_code == 1
    [counted, *survivors] = result.stdout.splitlines()[1:]
    assert counted == "mutation: 12 mutants, 6 that no test notices"
    assert "  policies/orders.yaml:10:9: orders/nobody-wipes: without the rule" in survivors
    assert len(survivors) == 6


def test_rules_are_not_changed_while_tests_fail() -> None:
    """Every change would look as if it were noticed."""
    result = run("--mutate", service=SERVICE.replace("orders:read", "orders:raed"))
    assert result.stdout.splitlines()[-1] == "mutation: not tried, because tests fail"


def test_a_terminal_shows_how_far_it_is() -> None:
    """On standard error; what is printed stays as it is."""
    write_policies(Path("policies"), {"orders.yaml": SERVICE, "orders_test.yaml": TESTS})
    terminal, theirs = os.openpty()
    try:
        command = [sys.executable, "-m", "authz_server", "test", "--mutate"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=60, check=False)
        os.close(theirs)
        shown = os.read(terminal, 65536).decode()
    finally:
        os.close(terminal)
    assert done.stdout == run("--mutate").stdout
    assert "12/12" in shown


def test_json_is_for_machines() -> None:
    """One object, with everything that was asked for."""
    result = run("--json", "--coverage", "--mutate")
    told = json.loads(result.stdout)
    assert (told["passed"], told["failed"]) == (2, 0)
    assert told["cases"][0] == {
        "name": "hers",
        "file": "policies/orders_test.yaml",
        "line": 5,
        "column": 11,
        "passed": True,
        "expected": "allow by buyers-read",
        "actual": "allow by orders/buyers-read",
        "reason": "allowed",
        "rule": "orders/buyers-read",
    }
    assert (told["coverage"]["total"], len(told["coverage"]["uncovered"])) == (6, 2)
    assert set(told["coverage"]["uncovered"][0]) == {"file", "line", "column", "rule", "message"}
    assert (told["mutation"]["total"], len(told["mutation"]["survivors"])) == (12, 6)
    assert set(told["mutation"]["survivors"][0]) == {"file", "line", "column", "rule", "change"}
    told = json.loads(run("--json", service=SERVICE.replace("orders:read", "orders:raed")).stdout)
    [failed] = [case for case in told["cases"] if not case["passed"]]
    assert [each["rule"] for each in failed["rules"]] == ["orders/buyers-read"]


def test_junit_is_for_build_servers() -> None:
    """A suite for each file, with what failed and why; also beside what is printed."""
    result = run("--junit", "report.xml", service=SERVICE.replace("orders:read", "orders:raed"))
    assert "1 failed" in result.stdout
    [suite] = ElementTree.parse("report.xml").getroot()  # noqa: S314 - our own
    assert suite.attrib == {"name": "policies/orders_test.yaml", "tests": "2", "failures": "1"}
    [failed, passed] = suite
    assert (failed.get("name"), failed.get("line"), len(passed)) == ("hers", "5", 0)
    [failure] = failed
    assert failure.get("message") == "expected allow by buyers-read, was deny (no_rule_allows)"
    assert "the scopes lack `orders:raed`" in (failure.text or "")


def test_a_report_that_cannot_be_written_is_a_wrong_use() -> None:
    """Said in a sentence."""
    result = run("--junit", "nowhere/report.xml")
    assert result.exit_code == 2
    assert "nowhere/report.xml cannot be written" in result.stderr


def test_annotations_are_for_github() -> None:
    """One line each, whatever stands in names and explanations."""
    tests = TESTS.replace("name: hers", 'name: "hers: 100 %, really"')
    result = run("--github", "--coverage", service=SERVICE.replace("orders:read", "orders:raed"), tests=tests)
    lines = [line for line in result.stdout.splitlines() if line.startswith("::")]
    assert lines[0].startswith(
        "::error file=policies/orders_test.yaml,line=5,col=11,title=hers%3A 100 %25%2C really::expected  allow"
    )
    assert "%0A" in lines[0]
    assert all(line.startswith("::warning file=policies/orders.yaml,") for line in lines[1:])
