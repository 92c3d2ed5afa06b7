"""`authz check`: decide one request on the engine that serves, and say why."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from authz_server.cli.configuration import ConfigOption, load_with_file_or_exit, there
from authz_server.errors import Refused
from authz_server.identity.settings import IdentitySettings, TrustDomain
from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id
from authz_server.model import Request
from authz_server.request.address import client_ip as parse_client_ip
from authz_server.request.body import SENT_EXTENSION

ALLOW, DENY = 0, 3
OF_REQUEST = ("workload", "token", "method", "host", "path", "header", "client_ip", "body")
"""The options that say what is asked, as parameters."""
MINIMAL = '{"attributes": {"request": {"http": {"method": "GET", "host": "orders.shop.example", "path": "/"}}}}'


def check(
    context: typer.Context,
    workload: Annotated[
        str, typer.Option(metavar="SPIFFE_ID", help="SPIFFE ID of the calling workload.", show_default=False)
    ] = "",
    token: Annotated[
        str,
        typer.Option(
            envvar="AUTHZ_TOKEN",
            help="The user's bearer token; `-` reads it from standard input, where no process list shows it.",
            show_default=False,
            show_envvar=True,
        ),
    ] = "",
    method: Annotated[str, typer.Option(help="The method.")] = "GET",
    host: Annotated[str, typer.Option(help="The host, perhaps with a port.", show_default=False)] = "",
    path: Annotated[str, typer.Option(help="The path, perhaps with a query, as a client sends it.")] = "/",
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A header; may be given several times.")
    ] = None,
    client_ip: Annotated[str, typer.Option(metavar="ADDRESS", help="The client's address.", show_default=False)] = "",
    body: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The body: JSON, unless a header says otherwise.", show_default=False),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A whole CheckRequest in protobuf's JSON form, instead of the above."),
    ] = None,
    policies: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The policies; without it, those of the configuration.")
    ] = None,
    config: ConfigOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why: phases, rules, and what would make it allow.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the decision as an audit record; with --explain, and why.")
    ] = False,
) -> None:
    """Decide one request on the engine that serves, and say why.

    A workload given by its SPIFFE ID is believed; in a CheckRequest the certificate must prove it. Tokens are
    verified with the keys of the configuration's issuers. Where nothing allowed, the first thing that each allow rule
    lacked is shown. Exit codes: 0 allow, 3 deny, 1 errors in policies or
    configuration, 2 wrong usage.

    \b
    Examples:
      authz check --workload spiffe://shop.example/ns/front/sa/web --host orders.shop.example --path /orders/c7-1
      authz check --host web.shop.example --path /public/logo.svg --json
      authz check --host orders.shop.example --method POST --path /orders --body order.json
      authz check --host orders.shop.example --path /orders/c7-1 --explain
      authz check --request check-request.json --config authz.yaml
    """
    # The engine takes a moment to import, which other commands need not wait for.
    from authz_server.cli.decision import decided, in_words, record
    from authz_server.control.policies import known_names
    from authz_server.control.worker_settings import identity_settings
    from authz_server.policy.loader import load_policies

    if request is not None:
        _refuse_other_options(context)
    settings, file = load_with_file_or_exit(config)
    directory = there(policies or settings.policy_directory, "--policies")
    if request is None:
        if token and not settings.issuers:
            typer.echo("authz: no issuer is known, so no token is valid: name the configuration (--config)", err=True)
        wanted = _from_options(workload, _token(token), method, host, path, header or [], client_ip, _body(body))
        identity = _believing(identity_settings(settings), workload)
    else:
        wanted, identity = _from_file(request, settings.metadata.namespaces), identity_settings(settings)
    # As in the server, which refuses policies that name what its configuration does not have.
    known = None if file is None else known_names(settings)
    loaded = load_policies(directory, known)
    result = decided(wanted, settings, identity, loaded)
    typer.echo(record(result, explain) if as_json else in_words(result, explain))
    raise typer.Exit(ALLOW if result.decision.allowed else DENY)


def _from_options(
    workload: str, token: str, method: str, host: str, path: str, headers: list[str], client_ip: str, body: bytes
) -> Request:
    if not host:
        raise typer.BadParameter("give the host of the request, or --request", param_hint="--host")
    if client_ip and parse_client_ip(client_ip) is None:
        raise typer.BadParameter(f"`{client_ip}` is no IP address, such as 192.0.2.7", param_hint="--client-ip")
    pairs = []
    for text in headers:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter(f"{text!r} is not `NAME: VALUE`", param_hint="--header")
        pairs.append((name.strip().lower(), value.strip().encode()))
    if token:
        pairs.append(("authorization", f"Bearer {token}".encode()))
    if body and "content-type" not in [name for name, _ in pairs]:
        pairs.append(("content-type", b"application/json"))
    return Request(
        method=method,
        target=path,
        host=host,
        headers=tuple(pairs),
        body=body,
        # There is nothing more than what is given here.
        extensions={SENT_EXTENSION: str(len(body) + 1)},
        protocol="HTTP/1.1",
        client_address=client_ip,
        principal=workload,
    )


def _refuse_other_options(context: typer.Context) -> None:
    """Everything about the request stands in the file; a token from the environment may be there for other calls."""
    sources = {name: context.get_parameter_source(name) for name in OF_REQUEST}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise typer.BadParameter(f"the file has the whole request, so leave out {options}", param_hint="--request")


def _token(text: str) -> str:
    return sys.stdin.readline().strip() if text == "-" else text


def _body(file: Path | None) -> bytes:
    try:
        return b"" if file is None else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="--body") from None


def _from_file(file: Path, namespaces: Sequence[str]) -> Request:
    from google.protobuf import json_format

    from authz_server.envoy.request import read_request
    from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest

    try:
        message = json_format.Parse(file.read_text(encoding="utf-8"), CheckRequest())
        return read_request(message.SerializeToString(), namespaces)
    except OSError as error:
        problem = f"{file} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = f"{file} is not UTF-8 text; write a CheckRequest in JSON form, such as {MINIMAL}"
    except json_format.ParseError as error:
        problem = f"{file} is no CheckRequest in JSON form: {error}; the least is {MINIMAL}"
    except Refused as error:
        problem = f"{file} is a CheckRequest that the server refuses: {error.detail}"
    raise typer.BadParameter(problem, param_hint="--request")


def _believing(settings: IdentitySettings, workload: str) -> IdentitySettings:
    """The settings under which a SPIFFE ID needs no certificate; without any trust domain, its own is one."""
    domains = tuple(TrustDomain(domain.name) for domain in settings.trust_domains)
    if workload and not domains:
        try:
            domains = (TrustDomain(parse_spiffe_id(workload).trust_domain),)
        except InvalidSpiffeId as error:
            raise typer.BadParameter(str(error), param_hint="--workload") from None
    return msgspec.structs.replace(settings, trust_domains=domains, certificate="principal")
