"""`authz replay`: recorded decisions, made again on other policies."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authz_server.cli.configuration import print_problems

if TYPE_CHECKING:
    from authz_server.policy.plan import Plan
    from authz_server.replay.flips import Replay

SAME, FLIPS, USAGE = 0, 1, 2


def replay(
    audit: Annotated[
        list[Path],
        typer.Argument(metavar="AUDIT...", help="Audit files, compressed (gzip) or not; `-` is standard input."),
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
    replay = Replay(_plan(policies))
    _take(replay, audit)
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


def _take(replay: "Replay", audit: list[Path]) -> None:
    """Replay all files, with a bar on a terminal."""
    from authz_server.replay.files import STDIN, lines_of

    for path in audit:
        if path != STDIN and not path.is_file():
            raise typer.BadParameter(f"{path} is no file", param_hint="AUDIT")
    size = sum(path.stat().st_size for path in audit if path != STDIN)
    with typer.progressbar(length=size, file=sys.stderr, label="replay", hidden=not sys.stderr.isatty()) as bar:
        for path in audit:
            try:
                replay.take(lines_of(path, bar.update))
            except (OSError, EOFError) as error:
                raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint="AUDIT") from None
