"""`authz envoy`: what Envoy needs to work with this server."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from msgspec.structs import replace

from authz_server.cli.configuration import ConfigOption, load_or_exit, print_problems, there
from authz_server.control.settings import Settings
from authz_server.dev.layout import Ports, upstreams
from authz_server.envoy.config_settings import (
    CheckPeer,
    EnvoySettings,
    InvalidAddressError,
    Upstream,
    parse_address,
    parse_upstream,
)
from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id
from authz_server.policy.patterns import parse_host_pattern
from authz_server.policy.plan import Plan

T = TypeVar("T")
app = typer.Typer(help="What Envoy needs to work with this server.", no_args_is_help=True)


@app.callback()
def envoy() -> None:
    """Hold the commands: without this, typer makes a lone one the group itself."""


@app.command("config")
def write_config(
    config: ConfigOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="A file instead of standard output.")
    ] = None,
    listener: Annotated[str, typer.Option(metavar="ADDRESS", help="Where Envoy takes requests.")] = "0.0.0.0:10000",
    admin: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Envoy's admin address; keep it on loopback.")
    ] = "127.0.0.1:10001",
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST=ADDRESS",
            help="HOST=ADDRESS:PORT, or HOST=http2://ADDRESS:PORT for gRPC; once for each service.",
        ),
    ] = None,
    secrets: Annotated[
        str, typer.Option(metavar="DIR", help="Directory of certificate.yaml and bundles.yaml.")
    ] = "certs/envoy",
    check: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Where Check is, instead of what the endpoints file says; repeatable."),
    ] = None,
    check_identity: Annotated[
        str | None,
        typer.Option(
            metavar="SPIFFE_ID", help="The SPIFFE ID of the server's certificate; makes Envoy speak mTLS to Check."
        ),
    ] = None,
    policies: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The policies, for bodies and lenient paths; without it, those of the configuration.",
        ),
    ] = None,
) -> None:
    """Write an Envoy configuration for the server's settings.

    Without --upstream, the demo's services are behind it. Envoy watches two files in the directory of --secrets:
    certificate.yaml, its own certificate and key, and bundles.yaml, the authorities whose certificates it lets in.
    `authz dev ca --envoy` writes both for development. Bodies are sent of the hosts whose policies read them; escaped
    slashes in paths are let through where a policy has lenient paths.

    \b
    Example:
      authz envoy config --upstream orders.shop.example=127.0.0.1:8080 --output envoy.yaml
    """
    # Envoy's types take half a second to import, which no other command need wait for.
    from authz_server.envoy.config import to_yaml

    server = load_or_exit(config)
    if server.tls is not None and check_identity is None:
        raise typer.BadParameter(
            "the configuration has `tls`, so say whose certificate Envoy must find there", param_hint="--check-identity"
        )
    plan = _plan(policies, server)
    token = server.upstream_token
    settings = EnvoySettings(
        listener=_parsed(parse_address, listener, "--listener"),
        admin=_parsed(parse_address, admin, "--admin"),
        upstreams=_with_bodies(_upstreams(upstream or ()) or upstreams(Ports()), plan),
        secrets=secrets,
        endpoints_file=_from_here(server.listen.endpoints_file),
        check_addresses=tuple(_parsed(parse_address, each, "--check") for each in check or ()),
        check_peer=None if check_identity is None else CheckPeer(_identity(check_identity)),
        keep_escaped_slashes=any(each.lenient for each in plan.services) if plan is not None else False,
        append_client_certificate=server.workloads.xfcc is not None and server.workloads.xfcc.appended,
        max_body=server.bodies.max,
        metadata=tuple(server.metadata.namespaces),
        identity_headers=(*server.identity_headers, *([] if token is None else [token.header])),
    )
    if not upstream:
        names = ", ".join(each.host for each in settings.upstreams)
        typer.echo(f"authz: no --upstream was given: behind it are the services of the demo ({names})", err=True)
    text = to_yaml(settings)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{output} cannot be written: {error.strerror}", param_hint="--output") from None


def _parsed(parse: Callable[[str], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except InvalidAddressError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _upstreams(texts: Sequence[str]) -> tuple[Upstream, ...]:
    """Each host once: Envoy would refuse the configuration else."""
    found: dict[str, Upstream] = {}
    for text in texts:
        each = _parsed(parse_upstream, text, "--upstream")
        if each.host.lower() in found:
            raise typer.BadParameter(f"`{each.host}` is given twice; name each host once", param_hint="--upstream")
        found[each.host.lower()] = each
    return tuple(found.values())


def _plan(policies: Path | None, server: Settings) -> Plan | None:
    """The policies, if there are any. Exits with 1 where they have errors."""
    directory = policies or server.policy_directory
    # Where Envoy's configuration is made, such as in a container of its own, the policies need not be.
    if policies is None and not directory.is_dir():
        return None
    from authz_server.policy.loader import load_policies

    loaded = load_policies(there(directory, "--policies"))
    if loaded.plan is None:
        print_problems(loaded.problems)
        raise typer.Exit(1)
    return loaded.plan


def _with_bodies(upstreams: Sequence[Upstream], plan: Plan | None) -> tuple[Upstream, ...]:
    """The upstreams, with those marked whose bodies some policy reads."""
    services = () if plan is None else plan.services
    hosts = [parse_host_pattern(host) for service in services if service.body for host in service.hosts]
    return tuple([replace(each, body=any(host.meets(each.host.lower()) for host in hosts)) for each in upstreams])


def _identity(text: str) -> str:
    try:
        return parse_spiffe_id(text).text
    except InvalidSpiffeId as error:
        raise typer.BadParameter(f"`{text}` is no SPIFFE ID: {error}", param_hint="--check-identity") from None


def _from_here(path: Path) -> str:
    """The path relative to the working directory where it lies below it, so that the file suits other machines."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
