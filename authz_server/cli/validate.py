"""`authz validate`: check policies, and the configuration, without serving."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from authz_server.cli.configuration import (
    ConfigOption,
    counted,
    from_here,
    load,
    policies_in_words,
    print_problems,
    there,
)
from authz_server.cli.lint import as_fields, in_words
from authz_server.control.settings import Settings
from authz_server.documents.problem import fields_of

TEST_SUFFIXES = ("_test.yaml", "_test.yml")


def validate(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="The policies; without it, those of the configuration.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the errors as JSON.")] = False,
) -> None:
    """Check policies, and show every error with its place.

    With a configuration that is checked too, and its issuers and trust domains are known: a policy that names another
    is an error. What `authz lint` finds is shown as well, and is no error. Files of tests (*_test.yaml) are checked
    like the rest; `authz test` runs them. Exit codes: 0 all good, 1 errors, 2 wrong usage.

    \b
    Examples:
      authz validate                           ./policies
      authz validate policies --config authz.yaml
      authz validate --json | jq '.errors[].message'
    """
    # Compiling conditions takes a moment to import, which other commands need not wait for.
    from authz_server.analysis.linted import load_and_lint
    from authz_server.control.policies import known_names
    from authz_server.control.settings_check import check_files

    configured = load(config)
    settings = configured.settings or Settings()
    wrong = [*configured.problems, *check_files(configured)]
    # What is wrong with the configuration comes first, which may name another directory than it means.
    if directory is not None or not wrong:
        there(directory or settings.policy_directory)
    # Without a configuration nothing is known of issuers and trust domains, and so none of them is an error.
    known = known_names(settings) if configured.file is not None and configured.settings is not None else None
    loaded, found = load_and_lint(from_here(directory or settings.policy_directory), known, time.time())
    problems = [*wrong, *loaded.problems]
    if as_json:
        warnings = [as_fields(each) for each in found]
        typer.echo(msgspec.json.encode({"errors": list(map(fields_of, problems)), "warnings": warnings}))
    elif problems:
        print_problems(problems)
    elif loaded.plan is not None:
        rules = sum(len(service.rules) for service in loaded.plan.services)
        typer.echo(policies_in_words(len(loaded.plan.services), rules, loaded.plan.revision) + ": no errors")
        for gap in _not_checked(loaded.files, known is not None, settings.reload.require_tests):
            typer.echo(f"  {gap}")
        if found:
            typer.echo(f"\n{in_words(found)}; see `authz lint`")
    raise typer.Exit(1 if problems else 0)


def _not_checked(files: Iterable[str], configured: bool, require_tests: bool) -> list[str]:
    """What "no errors" does not mean."""
    gaps = []
    if not configured:
        gaps.append("issuers and trust domains not checked: no configuration (--config)")
    if tests := sum(file.endswith(TEST_SUFFIXES) for file in files):
        gaps.append(f"{counted(tests, 'file')} of tests (*_test.yaml) not run: `authz test` does")
    if require_tests:
        gaps.append("the server takes these policies only if their tests pass (`reload.require_tests`)")
    return gaps
