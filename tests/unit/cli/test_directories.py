"""Directories of policies that are given to commands."""

from errno import EACCES
from gzip import BadGzipFile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.cli.audit_files import unreadable
from authz_server.cli.configuration import print_problems
from tests.builders import write_policies
from tests.unit.control.server_process import POLICY

COMMANDS = [
    "validate nowhere",
    "test nowhere",
    "lint nowhere",
    "diff nowhere here",
    "diff here nowhere",
    "replay decisions.jsonl --policies nowhere",
    "usage --policies nowhere",
    "bundle build nowhere --output bundle.tar.gz",
    "check --host orders.shop.example --policies nowhere",
    "doctor envoy.yaml --policies nowhere",
    "envoy config --policies nowhere",
    "explain 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d --policies nowhere",
]
OF_CONFIGURATION = [
    "test",
    "lint",
    "validate",
    "check --host orders.shop.example",
    "doctor envoy.yaml",
    "policy fmt",
    "usage decisions.jsonl",
]


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)
    Path("here").mkdir()
    Path("decisions.jsonl").touch()
    Path("envoy.yaml").write_text("{}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_one_that_is_not_there_is_wrong_usage(command: str) -> None:
    """Of every command: nothing can be said of its policies."""
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert "there is no directory nowhere" in result.stderr


@pytest.mark.parametrize("command", OF_CONFIGURATION)
def test_so_is_that_of_the_defaults(command: str) -> None:
    """Where none is given."""
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert "there is no directory policies\n" in result.stderr


@pytest.mark.parametrize("command", OF_CONFIGURATION)
def test_so_is_that_of_the_configuration(command: str) -> None:
    """Where none is given."""
    Path("authz.yaml").write_text("policies: {directory: nowhere}\n")
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert "there is no directory nowhere\n" in result.stderr


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--policies" in command])
def test_the_option_is_named(command: str) -> None:
    """Which is to be changed."""
    assert "Invalid value for --policies: " in CliRunner().invoke(app, command.split()).stderr


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("explain 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d --audit nowhere.jsonl", "--audit"),
        ("usage nowhere.jsonl --policies here", "AUDIT"),
        ("replay nowhere.jsonl --policies here", "AUDIT"),
    ],
)
def test_so_is_an_audit_file_that_is_not_there(command: str, option: str) -> None:
    """And what the operating system calls it is for nobody."""
    write_policies(Path("here"), {"orders.yaml": POLICY})
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert f"Invalid value for {option}: nowhere.jsonl is no file\n" in result.stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(EACCES, "Permission denied", "a.gz"), "a.gz cannot be read: Permission denied"),
        (BadGzipFile("CRC check failed"), "the audit cannot be read: CRC check failed"),
        (EOFError("it was cut"), "the audit cannot be read: it was cut"),
    ],
)
def test_why_an_audit_file_cannot_be_read_is_told_in_words(error: OSError | EOFError, words: str) -> None:
    """Not by numbers."""
    assert unreadable(error) == words


@pytest.mark.parametrize(
    "command",
    [
        "lint",
        "doctor envoy.yaml",
        "learn decisions.jsonl",
        "usage",
        "candidate report",
        "candidate promote",
        "candidate resume",
    ],
)
def test_a_bad_configuration_is_no_finding(command: str) -> None:
    """Nothing was looked at, and 1 would say that something was found."""
    Path("authz.yaml").write_text("no_such_field: 1\n")
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert "authz.yaml:1:1: unknown field `no_such_field`" in result.stderr


@pytest.mark.parametrize(
    "command", ["revisions", "usage", "candidate report", "explain 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d"]
)
def test_what_belongs_to_another_user_is_told(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a line, with what to do: what servers leave behind is for their user alone."""

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(EACCES, "Permission denied", str(path))

    # Who runs the tests may be allowed everything.
    for name in ("iterdir", "stat"):
        monkeypatch.setattr(Path, name, refuse)
    Path("authz.yaml").write_text("policies: {directory: here}\ncandidate: {directory: nowhere}\n")
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert result.stderr.startswith("authz: ")
    assert result.stderr.endswith(": permission denied; run this as the user that it belongs to\n")


def test_of_no_problems_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even an empty line."""
    print_problems([])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", [*OF_CONFIGURATION, "envoy config"])
def test_problems_are_where_they_are_as_seen_from_here(command: str) -> None:
    """With a configuration in this directory as without one: paths are short, and GitHub knows them."""
    Path("authz.yaml").write_text("policies: {directory: here}\n")
    write_policies(Path("here"), {"orders.yaml": "kind: servce\n"})
    result = CliRunner().invoke(app, command.split())
    assert "here/orders.yaml:1:7: unknown kind" in result.stderr
    assert str(Path.cwd()) not in result.stderr


def test_where_the_configuration_of_envoy_is_made_the_policies_need_not_be() -> None:
    """Such as in a container of its own."""
    Path("authz.yaml").write_text("policies: {directory: nowhere}\n")
    assert CliRunner().invoke(app, ["envoy", "config"]).exit_code == 0
