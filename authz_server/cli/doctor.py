"""`authz doctor`: whether an Envoy and the policies fit together, and what a request could pass by."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from authz_server.cli.commands import USAGE
from authz_server.cli.configuration import ConfigOption, counted, load_with_file_or_exit, print_problems, there

if TYPE_CHECKING:
    from authz_server.doctor.envoy import Envoy
    from authz_server.doctor.finding import Finding

WORDS = {
    "danger": "a request may pass that should not",
    "broken": "requests are denied that should not be",
    "advice": "a safety net is missing",
}


def doctor(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Envoy's bootstrap file, or a saved /config_dump.")
    ] = None,
    envoy: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The admin address of a running Envoy instead: host:port.")
    ] = None,
    policies: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The policies; without it, those of the configuration.")
    ] = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Find what an Envoy does not send, and what passes it by.

    Each finding says where, what it does, and the YAML that mends it. What comes from elsewhere (RDS, LDS, CDS) is
    not in a file: ask the running Envoy. Exit codes: 0 nothing found, 1 findings, or policies with errors, 2 wrong
    usage, errors in the configuration, or an Envoy that cannot be read.

    \b
    Examples:
      authz doctor deploy/envoy.yaml
      authz doctor --envoy 127.0.0.1:10001 --config authz.yaml
      authz doctor envoy.yaml --json | jq '.findings[].code'
    """
    if (file is None) == (envoy is None):
        raise typer.BadParameter("give a file, or --envoy with an address", param_hint="FILE")
    from authz_server.control.policies import known_names
    from authz_server.doctor.envoy import envoy_of
    from authz_server.doctor.examine import examine
    from authz_server.doctor.needs import needs_of
    from authz_server.doctor.sources import from_envoy, from_file
    from authz_server.doctor.view import Unreadable
    from authz_server.policy.loader import load_policies

    # First what was asked about: with a wrong address nothing else that is missing was meant.
    try:
        seen = envoy_of(from_file(file) if file is not None else from_envoy(envoy or ""))
    except Unreadable as error:
        raise typer.BadParameter(str(error), param_hint="FILE" if file is not None else "--envoy") from None
    settings, configured = load_with_file_or_exit(config, USAGE)
    known = None if configured is None else known_names(settings)
    loaded = load_policies(there(policies or settings.policy_directory, "--policies"), known)
    if loaded.plan is None:
        print_problems(loaded.problems)
        raise typer.Exit(1)
    findings = examine(seen, needs_of(loaded.plan, settings))
    typer.echo(_as_json(findings, seen) if as_json else _in_words(findings, seen))
    raise typer.Exit(1 if findings or not seen.managers else 0)


def _as_json(findings: Sequence["Finding"], seen: "Envoy") -> str:
    told = [
        {"code": f.code, "severity": f.severity, "place": f.place, "message": f.message, "mend": f.mend}
        for f in findings
    ]
    return msgspec.json.encode({"findings": told, "not_seen": list(seen.unseen)}).decode()


def _in_words(findings: Sequence["Finding"], seen: "Envoy") -> str:
    lines = []
    for finding in findings:
        mend = "\n".join(f"        {line}" for line in finding.mend.splitlines())
        lines.append(f"{finding.place}: {finding.severity}: {finding.message} [{finding.code}]\n    write\n{mend}\n")
    lines += [f"not seen: {place}" for place in seen.unseen]
    if not seen.managers:
        lines.append("there is no HTTP connection manager here, so nothing that ext_authz could be in")
    else:
        listeners = counted(len(seen.managers), "HTTP connection manager")
        lines.append(f"{listeners}: {counted(len(findings), 'finding') if findings else 'nothing found'}")
    for severity in dict.fromkeys(finding.severity for finding in findings):
        lines.append(f"  {severity}: {WORDS[severity]}")
    return "\n".join(lines)
