"""`authz validate`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz_server.cli import app
from tests.builders import write_policies

GOOD = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: employees-read
        effect: allow
        from: [{users: {issuer: corp}}]
        to: [{methods: [GET]}]
"""
CONFIGURED = "issuers: {%s: {issuer: 'https://login.example/', audiences: [shop]}}\n"


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)


def validate(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["validate", *arguments])


def test_good_policies_are_counted() -> None:
    """Exit code 0, and one line."""
    write_policies(Path("policies"), {"orders.yaml": GOOD})
    result = validate()
    assert result.exit_code == 0
    assert result.stdout.startswith("1 service, 1 rule, revision ")
    assert result.stderr == ""


def test_what_was_not_checked_is_said() -> None:
    """No errors without a configuration is less than no errors with one; tests are read and not run."""
    request = "{method: GET, host: orders.shop.example, path: /}"
    tests = f"kind: tests\ntests: [{{name: nobody, request: {request}, expect: {{decision: deny}}}}]\n"
    write_policies(Path("policies"), {"orders.yaml": GOOD, "orders_test.yaml": tests})
    result = validate()
    assert result.exit_code == 0, result.output
    assert "  issuers and trust domains not checked: no configuration" in result.stdout
    assert "  1 file of tests (*_test.yaml) not run: `authz test` does" in result.stdout
    Path("authz.yaml").write_text(CONFIGURED % "corp")
    assert "not checked" not in validate().stdout
    Path("authz.yaml").write_text(CONFIGURED % "corp" + "reload: {require_tests: true}\n")
    assert "  the server takes these policies only if their tests pass (`reload.require_tests`)" in validate().stdout


def test_errors_are_shown_with_their_places() -> None:
    """All of them, on standard error; exit code 1."""
    files = {"a.yaml": GOOD.replace("effect", "efect"), "b.yaml": "kind: servce"}
    write_policies(Path("mine"), files)
    result = validate("mine")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "mine/a.yaml:7:5: unknown field `efect`" in result.stderr
    assert "mine/b.yaml:1:7: " in result.stderr


def test_json_is_for_machines() -> None:
    """One object, on standard output, also where there is nothing to complain about."""
    write_policies(Path("policies"), {"orders.yaml": GOOD.replace("kind: service", "kind: servce")})
    result = validate("--json")
    assert result.exit_code == 1
    [error] = json.loads(result.stdout)["errors"]
    assert set(error) == {"file", "line", "column", "code", "message", "hint"}
    assert (error["file"].rpartition("/")[2], error["line"], error["column"]) == ("orders.yaml", 2, 7)
    write_policies(Path("policies"), {"orders.yaml": GOOD})
    assert json.loads(validate("--json").stdout) == {"errors": [], "warnings": []}


@pytest.mark.parametrize(("issuer", "exit_code"), [("corp", 0), ("partner", 1)])
def test_with_a_configuration_its_issuers_are_known(issuer: str, exit_code: int) -> None:
    """A policy that names another one is an error; without a configuration it is not."""
    write_policies(Path("policies"), {"orders.yaml": GOOD})
    assert validate().exit_code == 0
    Path("other.yaml").write_text(CONFIGURED % issuer)
    assert validate("--config", "other.yaml").exit_code == exit_code


def test_the_configuration_is_checked_too() -> None:
    """Together with the policies that it names: an error in one hides none in the other."""
    write_policies(Path("policies"), {"orders.yaml": "kind: servce"})
    Path("authz.yaml").write_text("wrokers: 2\n")
    result = validate("--json")
    assert result.exit_code == 1
    files = [error["file"].rpartition("/")[2] for error in json.loads(result.stdout)["errors"]]
    assert files == ["authz.yaml", "orders.yaml"]


def test_wrong_usage_is_another_exit_code() -> None:
    """2, as of every command."""
    assert validate("--nothing").exit_code == 2
    assert validate("a", "b").exit_code == 2
