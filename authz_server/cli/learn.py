"""`authz learn`: a first policy from what is on record."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authz_server.cli import written
from authz_server.cli.audit_files import take_lines
from authz_server.cli.commands import USAGE
from authz_server.cli.configuration import ConfigOption, counted, load_with_file_or_exit, print_problems
from authz_server.cli.progress import shown
from authz_server.cli.values import valid
from authz_server.documents.source import printable

if TYPE_CHECKING:
    from authz_server.learning.observations import Observations, Seen
    from authz_server.learning.service import LearnedService, Wishes

WRITTEN, NOTHING = 0, 1
_MAX_NAMED = 12
"""Services that are named where the one that was asked for is not on record."""
_MANY = 5_000
"""From so many different requests on progress is shown."""


def learn(
    audit: Annotated[
        list[Path],
        typer.Argument(metavar="AUDIT", help="Audit files, compressed (gzip) or not; `-` is standard input."),
    ],
    service: Annotated[
        str | None, typer.Option(metavar="NAME", help="This service alone, by its full name.", show_default=False)
    ] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the files are written.")] = Path("learned"),
    config: ConfigOption = None,
    min_count: Annotated[
        int, typer.Option(min=1, metavar="N", help="A caller does something so often before it is learned.")
    ] = 2,
    allow_anonymous: Annotated[
        bool, typer.Option("--allow-anonymous", help="Learn from requests without any identity as well.")
    ] = False,
    template: Annotated[
        list[str] | None,
        typer.Option(metavar="TEMPLATE", help="Paths that fit have this template, such as `/static/**`; repeatable."),
    ] = None,
    words: Annotated[
        int, typer.Option(min=0, metavar="N", help="So many words at one place are a parameter; 0 is never.")
    ] = 20,
    subjects: Annotated[
        int, typer.Option(min=0, metavar="N", help="So few users are named one by one; 0 is never.")
    ] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Write a first policy from what is on record.

    Best from those of a service in audit mode. The policy allows what was seen and no more: by workload and issuer,
    method and path template, with tests beside it. What looks wrong is left out, and the report says so. What was
    learned is replayed on what is written. Nothing is overwritten. Exit codes: 0 written, 1 nothing to learn or not
    written, 2 wrong usage.

    \b
    Examples:
      authz learn decisions.jsonl --service shop/orders
      authz learn decisions*.jsonl* --service shop/orders --output drafts --min-count 5
      authz learn decisions.jsonl --template "/static/**" --template "/{owner}/{repository}"
      zcat old/*.gz | authz learn - --json | jq '.left_out'
    """
    # The engine takes a moment to import, which other commands need not wait for.
    from authz_server.cli.learned import Report, as_text
    from authz_server.cli.learned import as_json as in_json
    from authz_server.control.policies import known_names
    from authz_server.control.worker_settings import identity_settings
    from authz_server.learning.files import check, files_of
    from authz_server.learning.observations import Observations
    from authz_server.learning.service import learn_services
    from authz_server.policy.formatting import Unformattable

    settings, file = load_with_file_or_exit(config, USAGE)
    known = None if file is None else known_names(settings)
    wishes = _wishes(min_count, template or [], words, subjects)
    observations = Observations(service, known, allow_anonymous=allow_anonymous)
    take_lines(audit, observations.take, "learn")
    services = learn_services(observations, wishes)
    report = Report(observations, services)
    if not services:
        typer.echo((in_json if as_json else as_text)(report))
        typer.echo(printable(f"authz: there is nothing to learn{_why_nothing(service, observations)}"), err=True)
        raise typer.Exit(NOTHING)
    _refuse_existing(output, services)
    try:
        files = files_of(services, output)
    except Unformattable as error:
        print_problems(error.problems)
        typer.echo("authz: nothing was written; --template says which paths are alike", err=True)
        raise typer.Exit(NOTHING) from None
    identity = identity_settings(settings)
    report.checked = check(files, output, services, observations.left, known, identity, time.time(), _replaying)
    if report.checked.problems:
        print_problems(report.checked.problems)
        raise typer.Exit(NOTHING)
    _write(output, files)
    report.files = [str(output / name) for name in files]
    typer.echo((in_json if as_json else as_text)(report))
    raise typer.Exit(WRITTEN if report.checked.good else NOTHING)


def _replaying(learned: "Sequence[Seen]") -> "Iterable[Seen]":
    return shown(learned, "replay", many=_MANY)


def _wishes(min_count: int, templates: list[str], words: int, subjects: int) -> "Wishes":
    from authz_server.learning.service import Wishes
    from authz_server.policy import values
    from authz_server.policy.patterns import parse_path_template

    known = [parse_path_template(valid(values.PathTemplate, text, "--template")) for text in templates]
    return Wishes(min_count, tuple(known), words, subjects)


def _why_nothing(service: str | None, observations: "Observations") -> str:
    """Records that were all left out need something else done than a service of which there are none."""
    of = "" if service is None else f" of `{service}`"
    if count := observations.records - observations.unread:
        left = [(each.count, why) for why, each in observations.left.items() if each.requests]
        whys = ", ".join(why for _, why in sorted(left, reverse=True))
        return f"{of}: {counted(count, 'record')}, left out because of {whys}"
    others = observations.other_names
    there = ", ".join(sorted(others)[:_MAX_NAMED]) + (", …" if len(others) > _MAX_NAMED else "")
    return f"{of}: no record" + (f"; on record are {there}" if others else "")


def _refuse_existing(output: Path, services: list["LearnedService"]) -> None:
    files = [output / name for service in services for name in (service.file, service.tests_file)]
    if there := [str(file) for file in files if file.exists() or file.is_symlink()]:
        typer.echo(f"authz: {', '.join(there)}: there already; nothing was written: name another --output", err=True)
        raise typer.Exit(NOTHING)


def _write(output: Path, files: dict[str, bytes]) -> None:
    try:
        for name, content in files.items():
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            written.create(output / name, content)
    except OSError as error:
        typer.echo(f"authz: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(NOTHING) from None
