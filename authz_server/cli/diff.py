"""`authz diff`: which requests two policies decide differently."""

import time
from pathlib import Path
from typing import Annotated

import typer

from authz_server.cli.commands import USAGE
from authz_server.cli.configuration import print_problems, there
from authz_server.policy.plan import Plan

SAME, DIFFERENT = 0, 1


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The directory of the policies as they were.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The directory of the policies as they are to be.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for a pull request.")] = False,
    now: Annotated[
        str, typer.Option(metavar="INSTANT", help="The time of the requests (RFC 3339).", show_default="now")
    ] = "",
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long to look.")] = 60.0,
) -> None:
    """Show what two policies decide differently.

    Both are asked, on the engine that serves, one request of each kind that either of them tells apart.
    What rests on a condition for which no example was found is shown as possible; what was not compared is said. Names
    of rules, and rules that say the same in another way, are no difference. Exit codes: 0 the same, 1 different, or not
    compared in full, 2 wrong usage or errors in policies.

    \b
    Examples:
      authz diff policies.old policies
      git worktree add /tmp/main main && authz diff /tmp/main/policies policies --markdown
      authz diff old new --json | jq '.differences[] | select(.change == "opened")'
    """
    # The engine takes a moment to import, which other commands need not wait for.
    from authz_server.analysis.difference import compare
    from authz_server.analysis.rows import rows
    from authz_server.cli.differences import as_json as in_json
    from authz_server.cli.differences import as_markdown, as_table

    if as_json and markdown:
        raise typer.BadParameter("it is either this or --markdown", param_hint="--json")
    moment = time.time() if not now else _moment(now)
    plans = [_plan(directory) for directory in (there(old, "OLD"), there(new, "NEW"))]
    found = compare(plans[0], plans[1], moment, timeout)
    shown = rows(found.flips, *plans)
    typer.echo(in_json(found, shown) if as_json else (as_markdown if markdown else as_table)(found, shown))
    raise typer.Exit(DIFFERENT if shown or found.cut else SAME)


def _plan(directory: Path) -> Plan:
    from authz_server.policy.loader import load_policies

    loaded = load_policies(directory)
    if loaded.plan is None:
        print_problems(loaded.problems)
        raise typer.Exit(USAGE)
    return loaded.plan


def _moment(text: str) -> float:
    from authz_server.policy.moments import seconds_of

    try:
        return seconds_of(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no instant such as 2026-03-02T10:00:00+01:00", param_hint="--now"
        ) from error
