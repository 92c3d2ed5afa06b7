"""`authz revisions` and `authz rollback`: the policies that decided before, and back to them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from authz_server.cli.configuration import (
    ConfigOption,
    counted,
    from_here,
    load_of_server_or_exit,
    why_not_here,
)
from authz_server.cli.refused import refuse, unfinished
from authz_server.documents.instants import instant

if TYPE_CHECKING:
    from authz_server.control.revisions import Revision
    from authz_server.control.rollback import RolledBack


def revisions(
    config: ConfigOption = None, as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False
) -> None:
    """List the policies that decided before, the latest first.

    Each activation of policies is kept in the run directory, by its hash: see `policies.revisions` of the
    configuration. Run it as the user of the server. Exit codes: 0 listed, 1 some cannot be used, 2 wrong usage.

    \b
    Examples:
      authz revisions --config authz.yaml
      authz revisions --json | jq '.revisions[0].revision'
    """
    from authz_server.control.revisions import NoRevision, revisions_of
    from authz_server.policy.files import read_directory, revision

    settings, _ = load_of_server_or_exit(config)
    store, directory = revisions_of(settings), from_here(settings.policy_directory)
    here = revision(read_directory(directory)[0])
    found: list[Revision] = []
    problems: list[str] = []
    for name in store.names():
        try:
            found.append(store.read(name))
        except NoRevision as error:
            problems.append(str(error))
    if as_json:
        rows = [_row(each, here) for each in found]
        typer.echo(msgspec.json.encode({"revisions": rows, "problems": problems}).decode())
    else:
        for each in found:
            typer.echo(_line(each, here))
        if not found:
            typer.echo(f"no revision is kept below {store.directory}")
        elif here not in [each.revision for each in found]:
            typer.echo(f"{directory} holds {here}, which is not kept")
    for problem in problems:
        typer.echo(f"authz: {problem}", err=True)
    raise typer.Exit(1 if problems else 0)


def _row(each: "Revision", here: str) -> dict[str, object]:
    return {
        "revision": each.revision,
        "activated": instant(each.activated),
        "services": each.size and each.size.services,
        "rules": each.size and each.size.rules,
        "files": len(each.files),
        "in_directory": each.revision == here,
    }


def _line(each: "Revision", here: str) -> str:
    size = "never decided" if each.size is None else f"{counted(each.size.services, 'service')}, "
    if each.size is not None:
        size += counted(each.size.rules, "rule")
    mark = "  in the directory" if each.revision == here else ""
    return f"{each.revision}  {instant(each.activated)}  {size}{mark}"


def rollback(
    revision: Annotated[str, typer.Argument(metavar="REV", help="The revision, or its first digits.")],
    config: ConfigOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also where the directory has changes that no server has activated.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done, or why not, as JSON.")] = False,
) -> None:
    """Put policies that decided before back in place.

    What the directory holds is kept as a revision first, so that this can be undone; files that are no policies are
    left alone. A running server takes the policies up like any edit, all at once. Policies that are fetched
    (`policies.source`) are put back at their source instead. Exit codes: 0 done, 1 not done,
    2 wrong usage.

    \b
    Examples:
      authz revisions                          what there is
      authz rollback 3f6c1b0a
      authz rollback 3f6c1b0a --force          also when an edit was never activated
    """
    from authz_server.control.policies import known_names
    from authz_server.control.promotion import Objection
    from authz_server.control.replacement import NotReplaced, Unfinished
    from authz_server.control.revisions import NoRevision, revisions_of
    from authz_server.control.rollback import roll_back

    settings, file = load_of_server_or_exit(config)
    if (because := why_not_here(settings)) is not None:
        to_do = "put the earlier policies there again (see docs/policy-sources.md)"
        refuse(Objection("policies_are_fetched", because, to_do), as_json=as_json)
    store, directory = revisions_of(settings), from_here(settings.policy_directory)
    known = None if file is None else known_names(settings)
    try:
        wanted = store.read(store.full_name(revision))
        done = roll_back(store, directory, wanted, known, force=force)
    except NoRevision as error:
        refuse(Objection("no_such_revision", str(error), "choose one of `authz revisions`"), as_json=as_json)
    except NotReplaced as error:
        with_force = "; with --force what no server has activated is kept as a revision, and replaced"
        to_do = "mend that, and say it again" + ("" if force or error.problems else with_force)
        refuse(Objection("not_replaced", str(error), to_do, tuple(error.problems)), as_json=as_json)
    except Unfinished as error:
        unfinished(error, config, as_json=as_json)
    typer.echo(msgspec.json.encode(done).decode() if as_json else _in_words(done, directory, config))


def _in_words(done: "RolledBack", directory: Path, config: Path | None) -> str:
    if not done.written and not done.removed:
        return f"{directory} holds the revision {done.revision} already"
    return replaced_in_words(done, f"{directory} holds the revision {done.revision} again", config)


def replaced_in_words(done: "RolledBack", headline: str, config: Path | None) -> str:
    """What was done to a directory of policies, and how to undo it."""
    lines = [headline]
    lines += [f"  written  {path}" for path in done.written] + [f"  removed  {path}" for path in done.removed]
    if done.before is not None and not done.before_is_good:
        lines.append(f"what was there, {done.before}, is kept, but has errors: no rollback puts it back as it is")
    elif done.before is not None:
        named = "" if config is None else f" --config {config}"
        lines.append(f"undo it with: authz rollback {done.before}{named}")
    return "\n".join(lines)
