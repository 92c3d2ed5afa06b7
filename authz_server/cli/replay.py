"""`authz replay`: recorded decisions, made again on other policies."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authz_server.cli.audit_files import take_lines
from authz_server.cli.commands import USAGE
from authz_server.cli.configuration import print_problems, there

if TYPE_CHECKING:
    from authz_server.policy.plan import Plan

SAME, FLIPS = 0, 1


def replay(
    audit: Annotated[
        list[Path],
        typer.Argument(metavar="AUDIT", help="Audit files, compressed (gzip) or not; `-` is standard input."),
    ],
    policies: Annotated[Path, typer.Option(metavar="DIR", help="The policies that decide again.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print what flips as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for a pull request.")] = False,
) -> None:
    """Make recorded decisions again on other policies.

    Shown are those that come out differently. Each is decided at its recorded time, by what its record says of the
    request. Where that does not suffice, because the policies read what is not on record, it is undecidable and counted
    by what is missing, never guessed. Exit codes: 0 no decision flips, 1 some do, 2 wrong usage, errors in policies, or
    no record that could be read.

    \b
    Examples:
      authz replay decisions.jsonl --policies policies
      authz replay decisions*.jsonl* --policies policies --markdown
      zcat old/*.gz | authz replay - --policies policies --json | jq '.flips[] | select(.change == "closed")'
    """
    # The engine takes a moment to import, which other commands need not wait for.
    from authz_server.cli.flips import as_json as in_json
    from authz_server.cli.flips import as_markdown, as_table
    from authz_server.replay.flips import Replay

    if as_json and markdown:
        raise typer.BadParameter("it is either this or --markdown", param_hint="--json")
    replay = Replay(_plan(there(policies, "--policies")))
    take_lines(audit, replay.take, "replay")
    typer.echo((in_json if as_json else as_markdown if markdown else as_table)(replay))
    unreadable = sum(count for (why, _), count in replay.tally.undecidable.items() if why == "unreadable")
    if replay.tally.records == unreadable:
        # Of nothing nothing flips: a wrong path must not look like a good change.
        typer.echo("authz: there is no record of a decision: are these audit files?", err=True)
        raise typer.Exit(USAGE)
    raise typer.Exit(FLIPS if replay.tally.flips else SAME)


def _plan(directory: Path) -> "Plan":
    from authz_server.policy.loader import load_policies

    loaded = load_policies(directory)
    if loaded.plan is None:
        print_problems(loaded.problems)
        raise typer.Exit(USAGE)
    return loaded.plan
