"""Directories of policies that are given to commands."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.cli.configuration import print_problems

COMMANDS = [
    "validate nowhere",
    "test nowhere",
    "lint nowhere",
    "diff nowhere here",
    "diff here nowhere",
    "replay decisions.jsonl --policies nowhere",
    "usage --policies nowhere",
    "bundle build nowhere --output bundle.tar.gz",
]


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTHZ_CONFIG", raising=False)
    Path("here").mkdir()
    Path("decisions.jsonl").touch()


@pytest.mark.parametrize("command", COMMANDS)
def test_one_that_is_not_there_is_wrong_usage(command: str) -> None:
    """Of every command: nothing can be said of its policies."""
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert "there is no directory nowhere" in result.stderr


@pytest.mark.parametrize("command", ["test", "lint"])
def test_so_is_that_of_the_configuration(command: str) -> None:
    """Where none is given."""
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 2
    assert "there is no directory" in result.stderr


def test_of_no_problems_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even an empty line."""
    print_problems([])
    assert capsys.readouterr().err == ""
