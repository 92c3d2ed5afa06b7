"""`authz explain`: why a decision of before was made, from its audit record."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from authz_server.cli.audit_files import files_there, unreadable
from authz_server.cli.commands import USAGE
from authz_server.cli.configuration import ConfigOption, load_of_server_or_exit, load_with_file_or_exit, there
from authz_server.documents.source import printable_line

if TYPE_CHECKING:
    from authz_server.cli.recorded import Explanation

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def explain(
    decision_id: Annotated[
        str, typer.Argument(metavar="DECISION_ID", help="As a denied client, the log of Envoy or the record has it.")
    ],
    audit: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="An audit file, compressed (gzip) or not, `-` for standard input; without it, those of the "
            "configuration. May be given several times.",
            show_default=False,
        ),
    ] = None,
    policies: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The policies; without it, the revision that decided.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
) -> None:
    """Say why a decision of before was made.

    The record is found in the audit, and the rules of the revision that decided are held against what it says of the
    request, at its time. What it does not hold is said, and not guessed. Run it where the server runs, as its user.
    Exit codes: 0 explained, 1 no such decision, or its policies are not kept, 2 wrong usage.

    \b
    Examples:
      authz explain 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d --config authz.yaml
      authz explain 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d --audit old.jsonl.gz --policies policies
      authz explain 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d --json | jq '.account.changes'
    """
    # The engine takes a moment to import, which other commands need not wait for.
    from authz_server.cli.recorded import audit_files, explanation_of, find

    if not _UUID.fullmatch(decision_id):
        message = f"`{decision_id}` is no id of a decision, such as 019cadf0-8d80-7c1d-8c5a-3f0d6a1b2c3d"
        raise typer.BadParameter(message, param_hint="DECISION_ID")
    if policies is not None:
        there(policies, "--policies")
    files_there(audit or (), "--audit")
    # What is named needs no server's configuration.
    of_server = audit is None or policies is None
    settings, _ = load_of_server_or_exit(config) if of_server else load_with_file_or_exit(config, USAGE)
    files = audit if audit is not None else list(audit_files(settings))
    try:
        line = find(decision_id.lower(), files)
    except (OSError, EOFError) as error:
        raise typer.BadParameter(unreadable(error), param_hint="--audit") from None
    if line is None:
        looked = ", ".join(map(str, files)) or f"{settings.audit.file.path}, which is not there"
        typer.echo(f"authz: no decision {decision_id} in {looked}", err=True)
        raise typer.Exit(1)
    try:
        found = explanation_of(line, settings, policies)
    except ValueError as error:
        typer.echo(f"authz: another version has written this record: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(msgspec.json.encode(found).decode() if as_json else _in_words(found))
    raise typer.Exit(0 if found.policies_found or not found.record["revision"] else 1)


def _in_words(found: "Explanation") -> str:
    from authz_server.cli.account import in_words
    from authz_server.errors import OUTCOMES, Reason

    record = found.record
    denied = record["decision"] == "deny" or record["would_deny"]
    headline = f"DENY  {OUTCOMES[Reason(record['reason'])].http_status}" if denied else "ALLOW"
    if record["would_deny"]:
        headline = f"ALLOW  would be {headline}: in audit"
    facts = {
        "reason": record["reason"],
        "rule": record["rule"],
        "time": record["time"],
        "calls": record["calls"] if (record["calls"] or 1) > 1 else None,
        "audited": ", ".join(record["audited"] or ()) or None,
        "revision": f"{record['revision']}  ({found.policies})" if record["revision"] else None,
    }
    lines = [headline, *(f"  {name:<9} {value}" for name, value in facts.items() if value is not None)]
    lines += in_words(found.account)
    read = [f"    {name}  {msgspec.json.encode(value).decode()}" for name, value in (record["inputs"] or {}).items()]
    read += [f"    absent: {', '.join(record['absent'])}"] if record["absent"] else []
    if read:
        lines += ["", "  what rules read", *read]
    if found.not_told:
        lines += ["", "  what cannot be told", *(f"    {each}" for each in found.not_told)]
    # What clients have sent is never handed to a terminal as it is, nor makes lines of its own.
    return "\n".join([printable_line(line) for line in lines])
