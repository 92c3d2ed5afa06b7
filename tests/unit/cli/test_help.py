"""The command line as a whole."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from authz_server.cli import app
from authz_server.cli.commands import COMMANDS


def _commands(command: Any, names: tuple[str, ...] = ()) -> Iterator[str]:  # any: typer has no public type for it
    for name, each in getattr(command, "commands", {}).items():
        yield from _commands(each, (*names, name))
    if not hasattr(command, "commands"):
        yield " ".join(names)


@pytest.mark.parametrize("command", list(_commands(typer.main.get_command(app))))
def test_help_has_examples(command: str) -> None:
    """As somebody would type them."""
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"\n    authz {command}" in result.stdout


@pytest.mark.parametrize("command", list(_commands(typer.main.get_command(app))))
def test_help_names_values_as_other_programs_do(command: str) -> None:
    """In capitals, without types of Python and without braces."""
    said = CliRunner().invoke(app, [*command.split(), "--help"]).stdout
    assert re.fullmatch(rf"Usage: authz {command} \[OPTIONS\]( \[?[A-Z_=]+(\.\.\.)?\]?)*", said.splitlines()[0])
    assert not re.search(r"^  \S.*<\w+[\[>|]", said, re.M)


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("learn", "learn [OPTIONS] AUDIT..."),
        ("usage", "usage [OPTIONS] [AUDIT...]"),
        ("diff", "diff [OPTIONS] OLD NEW"),
        ("policy fmt", "policy fmt [OPTIONS] [PATH...]"),
    ],
)
def test_the_usage_tells_what_may_be_left_out_and_what_may_be_repeated(command: str, usage: str) -> None:
    """Beside wrong usage as well."""
    wrong = CliRunner().invoke(app, [*command.split(), "--none"])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith(f"Usage: authz {usage}\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("usage --days 0", "--days: must be a whole number from 1 to 1000, not `0`"),
        ("usage --days many", "--days: must be a whole number from 1 to 1000, not `many`"),
        ("learn a --min-count 0", "--min-count: must be a whole number of 1 or more, not `0`"),
        ("diff a b --timeout x", "--timeout: must be a number of 1 or more, not `x`"),
        ("test --fail-under 200", "--fail-under: must be a number from 0 to 100, not `200`"),
    ],
)
def test_a_number_that_is_none_is_told_with_what_it_may_be(command: str, said: str) -> None:
    """As in files, without words of the library."""
    wrong = CliRunner().invoke(app, command.split())
    assert wrong.exit_code == 2
    assert wrong.stderr.endswith(f"Error: Invalid value for {said}\n")


@pytest.mark.parametrize("group", [[], ["config"], ["envoy"], ["dev"], ["policy"], ["bundle"], ["candidate"]])
def test_no_sentence_of_a_list_of_commands_is_cut(group: list[str]) -> None:
    """On a terminal of 80 columns."""
    result = CliRunner().invoke(app, [*group, "--help"], terminal_width=80)
    assert "Commands:" in result.stdout
    assert "..." not in result.stdout.partition("Commands:")[2]


def test_the_version_is_that_of_the_package() -> None:
    """For reports of defects."""
    assert CliRunner().invoke(app, ["--version"]).stdout == f"{version('authz-server')}\n"


def test_nobody_waits_for_the_imports_of_other_commands() -> None:
    """Each is imported when it is run."""
    program = "import sys; from authz_server.cli import app; app(['explain', '--help'], standalone_mode=False)"
    told = "; print('modules', *sorted(name for name in sys.modules if name.startswith('authz_server.')))"
    done = subprocess.run([sys.executable, "-c", program + told], capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    assert "authz_server.cli.explain" in modules
    assert modules.isdisjoint({f"authz_server.cli.{name}" for name in COMMANDS} - {"authz_server.cli.explain"})


def test_without_a_command_the_help_is_shown() -> None:
    """As wrong usage."""
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "Commands:" in result.output
