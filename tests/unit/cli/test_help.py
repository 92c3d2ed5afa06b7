"""The command line as a whole."""

from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from authz_server.cli import app


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "validate",
        "check",
        "diff",
        "explain",
        "learn",
        "lint",
        "revisions",
        "rollback",
        "replay",
        "config show",
        "config schema",
        "envoy config",
        "dev ca",
        "dev keys",
        "policy fmt",
        "policy new",
        "policy schema",
        "candidate report",
        "candidate promote",
        "bundle keys",
        "bundle build",
        "bundle sign",
        "bundle verify",
    ],
)
def test_help_has_examples(command: str) -> None:
    """As somebody would type them."""
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"\n    authz {command}" in result.stdout


@pytest.mark.parametrize("group", [[], ["config"], ["envoy"], ["dev"], ["policy"], ["bundle"], ["candidate"]])
def test_no_sentence_of_a_list_of_commands_is_cut(group: list[str]) -> None:
    """On a terminal of 80 columns."""
    result = CliRunner().invoke(app, [*group, "--help"], terminal_width=80)
    assert "Commands:" in result.stdout
    assert "..." not in result.stdout.partition("Commands:")[2]


def test_the_version_is_that_of_the_package() -> None:
    """For reports of defects."""
    assert CliRunner().invoke(app, ["--version"]).stdout == f"{version('authz-server')}\n"


def test_without_a_command_the_help_is_shown() -> None:
    """As wrong usage."""
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "Commands:" in result.output
