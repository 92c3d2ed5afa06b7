"""`authz test`: run the tests of policies on the engine that serves."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from authz_server.cli.configuration import ConfigOption, load_with_file_or_exit, print_problems, there
from authz_server.cli.progress import shown

if TYPE_CHECKING:
    from authz_server.policy.parsing import ParsedFile
    from authz_server.policy.plan import Plan
    from authz_server.testing.report import Report
    from authz_server.testing.session import Session

T = TypeVar("T")
PASSED, FAILED, NOTHING_TO_RUN = 0, 1, 2
_MANY = 500
"""From so many on progress is shown."""


def run_tests(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="The policies; without it, those of the configuration.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    named: Annotated[
        list[str] | None,
        typer.Option("-k", metavar="TEXT", help="Only tests with this in name or file; may be given several times."),
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Say which rules, items and conditions no test decides by.")
    ] = False,
    fail_under: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            min=0,
            max=100,
            help="Fail where less is covered; implies --coverage.",
            show_default=False,
        ),
    ] = None,
    mutate: Annotated[
        bool, typer.Option("--mutate", help="Change rules, and say which changes no test notices.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit report as well.", show_default=False)
    ] = None,
    github: Annotated[bool, typer.Option("--github", help="Print annotations for GitHub Actions.")] = False,
) -> None:
    """Run the tests of policies, and explain what fails.

    Tests stand beside the policies (*_test.yaml). Callers are who the tests say, without tokens and certificates; the
    rest is the engine that serves. Exit codes: 0 all good, 1 failures, survivors of --mutate, too little covered, or
    errors in policies, 2 wrong usage, or no test.

    \b
    Examples:
      authz test
      authz test policies -k refunds
      authz test policies --coverage --fail-under 100 --mutate
      authz test --github --junit report.xml
    """
    from authz_server.cli import tested
    from authz_server.testing.report import Report

    session = _session(directory, config, named or [])
    outcomes = [session.run(case) for case in shown(session.cases, "tests", many=_MANY)]
    failures = session.failures(outcomes)
    report = Report(
        outcomes,
        failures,
        session.coverage(outcomes) if coverage or fail_under is not None else None,
        session.survivors(outcomes, _mutating) if mutate and not failures else None,
    )
    if junit is not None:
        _write(junit, tested.junit(report))
    if as_json:
        typer.echo(tested.as_json(report))
    else:
        typer.echo(tested.in_words(report, mutate=mutate))
    if github and not as_json:
        for line in tested.annotations(report):
            typer.echo(line)
    raise typer.Exit(FAILED if _is_bad(report, fail_under) else PASSED)


def _session(directory: Path | None, config: Path | None, named: Sequence[str]) -> "Session":
    """The tests that are wanted; exits with 1 where policies have errors, and with 2 where there is no test."""
    # The engine takes a moment to import, which other commands need not wait for.
    from authz_server.control.policies import known_names
    from authz_server.control.worker_settings import identity_settings
    from authz_server.policy.collection import without_collection
    from authz_server.policy.loader import load_policies
    from authz_server.testing.session import Session

    settings, file = load_with_file_or_exit(config)
    files: list[ParsedFile] = []

    def keep(_plan: "Plan", parsed: Sequence["ParsedFile"]) -> tuple[()]:
        files.extend(parsed)
        return ()

    place = there(directory or settings.policy_directory)
    # Documents and plan stay to the end, and no collection need look at them.
    with without_collection(freeze=True):
        known = None if file is None else known_names(settings)
        loaded = load_policies(place, known, keep)
        if loaded.plan is None:
            print_problems(loaded.problems)
            raise typer.Exit(FAILED)
        parts = [text.casefold() for text in named]
        session = Session(
            loaded.plan,
            files,
            identity_settings(settings),
            settings.bodies.max,
            time.time(),
            lambda case: not parts or any(part in case.full_name.casefold() for part in parts),
        )
    if not session.cases:
        what = f"no test has {' or '.join(map(repr, named))} in its name" if named else "there is no test (*_test.yaml)"
        typer.echo(f"authz: {what} below {place}", err=True)
        raise typer.Exit(NOTHING_TO_RUN)
    return session


def _mutating(mutants: Sequence[T]) -> Iterable[T]:
    return shown(mutants, "mutants", many=1)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint="--junit") from None


def _is_bad(report: "Report", fail_under: float | None) -> bool:
    too_little = fail_under is not None and report.coverage is not None and report.coverage.percent < fail_under
    survived = report.survivors is not None and bool(report.survivors.mutants)
    return bool(report.failures) or too_little or survived
