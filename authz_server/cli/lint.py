"""`authz lint`: what is wrong with policies that load."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from authz_server.analysis.lint import Lint
from authz_server.cli.annotations import annotation
from authz_server.cli.commands import USAGE
from authz_server.cli.configuration import ConfigOption, counted, load_with_file_or_exit, print_problems, there
from authz_server.documents.problem import fields_of
from authz_server.policy.findings import Finding

FOUND = 1


def lint(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="The policies; without it, those of the configuration.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Findings to leave out; may be given several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    github: Annotated[bool, typer.Option("--github", help="Print annotations for GitHub Actions.")] = False,
) -> None:
    """Find rules that do nothing, or more than was meant.

    Each finding has its place, a stable code, and what to do. A rule accepts one with a reason:
    `accepts: {wide_grant: "why"}`. Exit codes: 0 nothing found, 1 findings, 2 wrong usage, or errors in policies or
    configuration.

    \b
    Examples:
      authz lint                               ./policies
      authz lint policies --ignore wide_grant
      authz lint --json | jq '.findings[] | select(.severity == "warning")'
      authz lint --github
    """
    # Compiling conditions takes a moment to import, which other commands need not wait for.
    from authz_server.analysis.linted import load_and_lint

    if unknown := sorted(set(ignore or ()) - set(Finding)):
        codes = ", ".join(Finding)
        raise typer.BadParameter(f"no finding has the code `{unknown[0]}`; codes are {codes}", param_hint="--ignore")
    settings, _ = load_with_file_or_exit(config, USAGE)
    loaded, found = load_and_lint(there(directory or settings.policy_directory), None, time.time())
    if loaded.plan is None:
        print_problems(loaded.problems)
        raise typer.Exit(USAGE)
    found = [each for each in found if each.problem.code not in (ignore or ())]
    if as_json:
        typer.echo(msgspec.json.encode({"findings": [as_fields(each) for each in found]}))
    elif github:
        for each in found:
            problem = each.problem
            text = f"{problem.message}: {problem.hint}"
            typer.echo(annotation(each.severity, problem.position, problem.code, text))
    else:
        typer.echo(in_words(found) if found else "nothing found")
    raise typer.Exit(FOUND if found else 0)


def in_words(found: list[Lint]) -> str:
    """All findings with their places, and how many."""
    notices = len([each for each in found if each.severity == "notice"])
    counts = f"{counted(len(found) - notices, 'warning')}, {counted(notices, 'notice')}"
    return "\n\n".join([*map(_in_words, found), counts])


def _in_words(each: Lint) -> str:
    problem = msgspec.structs.replace(each.problem, message=f"{each.problem.message} [{each.problem.code}]")
    return str(problem)


def as_fields(each: Lint) -> dict[str, object]:
    """For JSON."""
    return {"severity": each.severity, **fields_of(each.problem)}
