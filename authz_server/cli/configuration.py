"""What commands that read the configuration have in common."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from authz_server.cli.commands import USAGE
from authz_server.control.settings import LoadedSettings, Settings, load_settings
from authz_server.control.settings.load import DEFAULT_FILE
from authz_server.documents.problem import Problem

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="AUTHZ_CONFIG",
        metavar="FILE",
        help="The configuration; without it `authz.yaml` in this directory, if there, else defaults.",
    ),
]


def load(config: Path | None) -> LoadedSettings:
    """The configuration and what is wrong with it."""
    return load_settings(config, os.environ)


def load_or_exit(config: Path | None) -> Settings:
    """The configuration; with a bad one, print what is wrong and exit with 1."""
    return load_with_file_or_exit(config)[0]


def load_with_file_or_exit(config: Path | None, code: int = 1) -> tuple[Settings, Path | None]:
    """The configuration and its file, if there is one; with a bad one, print what is wrong and exit with that code."""
    loaded = load(config)
    if loaded.settings is None:
        print_problems(loaded.problems)
        raise typer.Exit(code)
    return loaded.settings, loaded.file


def load_of_server_or_exit(config: Path | None) -> tuple[Settings, Path | None]:
    """The configuration of a server, for what it has left behind; a bad one is wrong usage (exit code 2).

    That defaults are used is said, because the server may have others.
    """
    settings, file = load_with_file_or_exit(config, USAGE)
    if file is None:
        directory = from_here(settings.run_directory)
        typer.echo(
            f"authz: no {DEFAULT_FILE} here and no --config: this looks at defaults, below {directory}", err=True
        )
    return settings, file


def why_not_here(settings: Settings) -> str | None:
    """Why nothing is to be written to the directory of policies: they come from a source."""
    source = settings.policies.source
    if source is None:
        return None
    return f"the policies come from {source.kind.place}, and its next change would replace what is put here"


def from_here(path: Path) -> Path:
    """The path as seen from this directory, if it is below: names of files are for people, and for GitHub."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def there(directory: Path, option: str = "DIR") -> Path:
    """The directory, as seen from here. One that is not there is wrong usage: nothing can be said of its policies."""
    if not directory.is_dir():
        raise typer.BadParameter(f"there is no directory {from_here(directory)}", param_hint=option)
    return from_here(directory)


def print_problems(problems: Iterable[Problem]) -> None:
    """All problems on standard error, an empty line between them; of none nothing."""
    if text := "\n\n".join(str(problem) for problem in problems):
        typer.echo(text, err=True)


def policies_in_words(services: int, rules: int, revision: str) -> str:
    """What was loaded, in a line."""
    return f"{counted(services, 'service')}, {counted(rules, 'rule')}, revision {revision}"


def counted(number: int, noun: str) -> str:
    """A number of things in words."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
