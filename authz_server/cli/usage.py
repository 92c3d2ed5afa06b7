"""`authz usage`: what is used of the policies, and what nobody has used for long."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authz_server.cli.audit_files import files_there, unreadable
from authz_server.cli.commands import USAGE
from authz_server.cli.configuration import (
    ConfigOption,
    from_here,
    load_of_server_or_exit,
    load_with_file_or_exit,
    print_problems,
    there,
)

if TYPE_CHECKING:
    from authz_server.control.settings import Settings
    from authz_server.policy.plan import Plan
    from authz_server.pruning.suggestion import Suggestion
    from authz_server.usage.found import Findings
    from authz_server.usage.state import State

USED, UNUSED = 0, 1


def usage(
    audit: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="AUDIT",
            help="Audit files, compressed (gzip) or not, `-` is standard input; without any, what the server counted.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    days: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="What was not used for so long is told.")
    ] = 30,
    policies: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The policies; without it, those of the configuration.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Print narrower policies, as a patch; what was checked on standard error.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="PATCH", help="With --suggest: write the patch there.", show_default=False),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="With --suggest: how long to compare the policies.")
    ] = 60.0,
) -> None:
    """Say what nobody has used of the policies.

    A server counts what is used; audit files tell the same of their time, also of several replicas together. Of a rule
    that has not been in force for long enough, and of what is not on record, nothing is claimed. A deny rule that
    never denied is no reason to remove it. Exit codes: 0 every grant is used, or too young, 1 some are unused, 2 wrong
    usage, errors in policies or configuration, or nothing to look at.

    With --suggest: policies without what nobody used, and with what was used in the place of wide grants. They are
    offered only as far as they open nothing (`authz diff`) and allow every recorded request that the policies allow
    (`authz replay`). Exit codes: 0 there is nothing to narrow, 1 there is, 2 as above.

    \b
    Examples:
      authz usage --config authz.yaml
      authz usage --days 60 audit/decisions*.jsonl*
      authz usage --days 60 --suggest --output narrower.patch && git apply narrower.patch
      authz usage --json | jq -r '.unused[] | select(.effect == "allow") | .rule'
    """
    # The engine takes a moment to import, which other commands need not wait for.
    from authz_server.cli.used import as_json as in_json
    from authz_server.cli.used import in_words
    from authz_server.usage.findings import findings_of

    if output is not None and not suggest:
        raise typer.BadParameter("it needs --suggest", param_hint="--output")
    # What is named needs no server's configuration.
    of_server = not audit or policies is None
    settings, _ = load_of_server_or_exit(config) if of_server else load_with_file_or_exit(config, USAGE)
    directory = policies or from_here(settings.policy_directory)
    plan = _plan(there(directory, "--policies"))
    if audit:
        state, now, not_kept = _recorded(audit, directory, plan, settings)
    else:
        state, now, not_kept = _kept(settings, days), time.time(), ()
    found = findings_of(state, plan, now, days)
    if suggest:
        from authz_server.cli.suggested import offer

        suggested = _suggested(found, directory, plan, audit, settings, timeout)
        raise typer.Exit(offer(suggested, directory, settings, output, as_json=as_json))
    typer.echo(in_json(found, state, not_kept) if as_json else in_words(found, state, not_kept, days))
    raise typer.Exit(UNUSED if found.unused_grants else USED)


def _suggested(
    found: "Findings", directory: Path, plan: "Plan", audit: list[Path] | None, settings: "Settings", timeout_s: float
) -> "Suggestion":
    """Narrower policies, checked with the audit files that are named, or those of the configuration."""
    from authz_server.cli.recorded import audit_files
    from authz_server.policy.files import read_directory
    from authz_server.pruning.narrower import Policies
    from authz_server.pruning.narrowing import narrowings_of
    from authz_server.pruning.suggestion import suggest as suggestion_of
    from authz_server.replay.files import STDIN, lines_of

    if audit and STDIN in audit:
        raise typer.BadParameter("standard input can be read once only; name files for --suggest", param_hint="AUDIT")
    files = audit or list(audit_files(settings))

    def lines() -> Iterator[bytes]:
        for path in files:
            yield from lines_of(path, lambda _: None)

    policies = Policies(directory, read_directory(directory)[0], plan)
    narrowings = narrowings_of(found, plan)
    try:
        return suggestion_of(policies, narrowings, lines, time.time(), timeout_s, settings.identity_headers)
    except (OSError, EOFError) as error:
        raise typer.BadParameter(unreadable(error), param_hint="AUDIT") from None


def _plan(directory: Path) -> "Plan":
    from authz_server.policy.loader import load_policies

    loaded = load_policies(directory)
    if loaded.plan is None:
        print_problems(loaded.problems)
        raise typer.Exit(USAGE)
    return loaded.plan


def _kept(settings: "Settings", days: int) -> "State":
    """What the server of this configuration has counted."""
    from authz_server.control.checked_file import NothingKept
    from authz_server.control.usage import usage_file
    from authz_server.usage.found import DAY_S

    kept_days = settings.usage.keep / DAY_S
    if days > kept_days:
        raise typer.BadParameter(f"uses are kept for {kept_days:g} days (usage.keep)", param_hint="--days")
    file = usage_file(settings)
    try:
        return file.read()[0]
    except NothingKept as error:
        typer.echo(f"authz: {file.path}: {error}; a server writes it, or name audit files", err=True)
        raise typer.Exit(USAGE) from None


def _recorded(
    audit: list[Path], directory: Path, plan: "Plan", settings: "Settings"
) -> tuple["State", float, tuple[str, ...]]:
    """What audit files tell, up to when, and which of the revisions in them are not kept."""
    from authz_server.control.revisions import candidate_revisions_of, revisions_of
    from authz_server.pruning.recorded import RecordedUsage, in_order, plans_of
    from authz_server.replay.files import lines_of

    files_there(audit)
    recorded = RecordedUsage(plans_of(directory, plan, [revisions_of(settings), candidate_revisions_of(settings)]))
    try:
        for path in in_order(audit):
            recorded.take(lines_of(path, lambda _: None))
    except (OSError, EOFError) as error:
        raise typer.BadParameter(unreadable(error), param_hint="AUDIT") from None
    state = recorded.state
    if state is None or not state.decisions:
        typer.echo("authz: there is no record of a decision: are these audit files?", err=True)
        raise typer.Exit(USAGE)
    return state, state.last, tuple(recorded.not_kept)
