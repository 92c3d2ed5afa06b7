"""`authz candidate`: what a candidate decides differently on live traffic, and putting it in force."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from authz_server.cli.commands import USAGE
from authz_server.cli.configuration import (
    ConfigOption,
    from_here,
    load_of_server_or_exit,
    why_not_here,
)
from authz_server.cli.refused import refuse, unfinished
from authz_server.cli.revisions import replaced_in_words

if TYPE_CHECKING:
    from authz_server.control.findings import Findings
    from authz_server.control.rollback import RolledBack
    from authz_server.control.settings import Settings

SAME, FLIPS = 0, 1

app = typer.Typer(no_args_is_help=True, help="Judge other policies on live traffic, and put them in force.")


@app.command("report")
def report(
    flips: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Only these flips, explained by both policies.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, explanations too.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for a pull request.")] = False,
) -> None:
    """Show what the candidate decides differently.

    Alike ones are one flip: the same change, caller and route, decided by the same rules. First those that close, then
    those that open; each has an id, which stays the same. Run it where the server runs, as its user. Exit codes: 0 no
    decision flips, 1 some do, 2 wrong usage, or nothing has been compared yet.

    \b
    Examples:
      authz candidate report --config authz.yaml
      authz candidate report 5d41402abc        this one, and what the rules of both policies said
      authz candidate report --json | jq '.flips[] | select(.change == "closed")'
    """
    # The engine takes a moment to import, which other commands need not wait for.
    from authz_server.cli import candidate_report
    from authz_server.control.findings import Findings

    if as_json and markdown:
        raise typer.BadParameter("it is either this or --markdown", param_hint="--json")
    settings, _ = load_of_server_or_exit(config)
    directory = _candidate_directory(settings)
    here = candidate_report.revision_in(directory)
    is_in_force = here is not None and here == candidate_report.revision_in(settings.policy_directory)
    findings = Findings(here, here, 0.0) if here is not None and is_in_force else _findings(settings)
    if findings is None:
        raise typer.Exit(USAGE)
    wanted = _known(flips or [], {flip.id for flip in findings.flips}, "ID")
    found = candidate_report.report_of(findings, settings, wanted)
    if as_json:
        typer.echo(candidate_report.as_json(found))
    elif markdown:
        typer.echo(candidate_report.as_markdown(found))
    else:
        typer.echo(candidate_report.as_table(found, explain=bool(wanted)))
    if not findings.compared and not findings.flips and not is_in_force:
        # Of nothing nothing flips.
        typer.echo("authz: no check has been compared yet", err=True)
        raise typer.Exit(USAGE)
    raise typer.Exit(FLIPS if findings.flips or findings.more or findings.untold else SAME)


@app.command("promote")
def promote(
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="A flip that is meant, or a rule all flips of which are; may be given several times."
        ),
    ] = None,
    accept_all: Annotated[bool, typer.Option("--accept-all", help="All flips are meant, shown or not.")] = False,
    unjudged: Annotated[
        bool, typer.Option("--unjudged", help="Also where no traffic has been compared with this candidate.")
    ] = False,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done, or why not, as JSON.")] = False,
) -> None:
    """Put the candidate in force.

    The directory of policies gets its files, all at once for every server that reads it; what was in force is kept, and
    can be put back. Refused while a flip from ALLOW to DENY or from DENY to ALLOW is not accepted, where the candidate
    is not what was judged, or has problems. Exit codes: 0 done, 1 refused, 2 wrong usage.

    \b
    Examples:
      authz candidate promote --config authz.yaml
      authz candidate promote --accept 5d41402abc --accept orders/readers
    """
    from authz_server.control.checked_file import NothingKept
    from authz_server.control.fall_back import fallen_back
    from authz_server.control.policies import known_names, required_tests
    from authz_server.control.promotion import Accepted, Objection, Promotion, acceptable
    from authz_server.control.replacement import NotReplaced, Unfinished
    from authz_server.control.revisions import revisions_of

    settings, file = load_of_server_or_exit(config)
    if (because := why_not_here(settings)) is not None:
        to_do = "publish the candidate there (see docs/policy-sources.md)"
        refuse(Objection("policies_are_fetched", because, to_do), as_json=as_json)
    candidate, directory = _candidate_directory(settings), from_here(settings.policy_directory)
    findings = _findings(settings, quietly=True)
    names = _known(accept or [], acceptable(findings), "--accept")
    known = None if file is None else known_names(settings)
    try:
        fallen = fallen_back(settings)
    except NothingKept as error:
        message = f"whether its roll-out fell back is not known: {error}"
        refuse(Objection("rollout_fell_back", message, "say `authz candidate resume` first"), as_json=as_json)
    promotion = Promotion(candidate, directory, revisions_of(settings), findings, fallen)
    accepted = Accepted(frozenset(names), accept_all, unjudged)
    objections = promotion.objections(accepted, known, required_tests(settings))
    if objections:
        refuse(*objections, as_json=as_json)
    try:
        done = promotion.carry_out(known)
    except NotReplaced as error:
        objection = Objection("not_replaced", str(error), "mend that, and say it again", tuple(error.problems))
        refuse(objection, as_json=as_json)
    except Unfinished as error:
        unfinished(error, config, as_json=as_json)
    typer.echo(msgspec.json.encode(done).decode() if as_json else _in_words(done, directory, config))


@app.command("resume")
def resume(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what goes on, or why nothing does, as JSON.")] = False,
) -> None:
    """Let a roll-out go on that fell back.

    A roll-out falls back when the candidate denies too much of what the policies in force would have allowed
    (`candidate.fall_back`), and does not begin again until the candidate changes, or this is said. A running server
    takes it up within `policies.rescan`. Run it as the user of the server. Exit codes: 0 it goes on, 1 none fell back,
    2 wrong usage.

    \b
    Examples:
      authz candidate resume --config authz.yaml
    """
    from authz_server.control.checked_file import NothingKept
    from authz_server.control.fall_back import fallen_back_file
    from authz_server.control.promotion import Objection

    settings, _ = load_of_server_or_exit(config)
    _candidate_directory(settings)
    file = fallen_back_file(settings)
    candidate: str | None = None
    try:
        candidate = file.read().revision
        what = f"the candidate {candidate}"
    except NothingKept as error:
        what = f"whichever candidate {file.path} was about ({error})"
    try:
        removed = file.remove()
    except OSError as error:
        message = f"{file.path} cannot be removed: {error.strerror}"
        refuse(Objection("not_resumed", message, "mend that, and say it again"), as_json=as_json)
    if not removed:
        message, to_do = (
            f"no roll-out fell back: there is no {file.path}",
            "nothing, if this is the server's configuration",
        )
        refuse(Objection("nothing_fell_back", message, to_do), as_json=as_json)
    goes_on = f"the roll-out of {what} goes on, if the configuration has one"
    typer.echo(msgspec.json.encode({"candidate": candidate}).decode() if as_json else goes_on)


def _candidate_directory(settings: "Settings") -> Path:
    if settings.candidate is None:
        typer.echo(
            "authz: the configuration has no section `candidate`, such as `candidate: {directory: candidate}`", err=True
        )
        raise typer.Exit(USAGE)
    return from_here(settings.candidate.directory)


def _findings(settings: "Settings", *, quietly: bool = False) -> "Findings | None":
    from authz_server.control.checked_file import NothingKept
    from authz_server.control.findings import findings_file

    file = findings_file(settings)
    try:
        return file.read()
    except NothingKept as error:
        if not quietly:
            hint = "a server with this configuration writes it, once it has a candidate without errors"
            typer.echo(f"authz: nothing is known of a candidate: {from_here(file.path)}: {error}; {hint}", err=True)
        return None


def _known(names: list[str], known: Collection[str], option: str) -> list[str]:
    """These names, each of which must be known."""
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not in the report (`authz candidate report`)", param_hint=option)
    return names


def _in_words(done: "RolledBack", directory: Path, config: Path | None) -> str:
    if not done.written and not done.removed:
        return f"{directory} holds the candidate {done.revision} already"
    return replaced_in_words(done, f"{directory} holds the candidate {done.revision} now", config)
