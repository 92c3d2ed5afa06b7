"""`authz dev`: identities for development, and the demo."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from authz_server.dev.layout import AUDIENCE, DEFAULT_PORT, ISSUER, TRUST_DOMAIN
from authz_server.documents.quantities import parse_duration
from authz_server.identity.spiffe import InvalidSpiffeId, parse_spiffe_id

if TYPE_CHECKING:
    from authz_server.dev.ca import DevelopmentCa
    from authz_server.dev.issuer import DevelopmentIssuer

# What the commands need is imported by them: Envoy's types alone take half a second, which a token need not wait for.

app = typer.Typer(help="FOR DEVELOPMENT ONLY: identities and the demo.", no_args_is_help=True)

KeyOption = Annotated[Path, typer.Option("--key", metavar="FILE", help="The issuer's private key.")]
DEFAULT_KEY = Path("certs/issuer.key")


@app.command("ca")
def issue_certificates(
    identities: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=SPIFFE_ID", help="Certificates to issue: NAME.pem, NAME.key."),
    ] = None,
    directory: Annotated[Path, typer.Option(metavar="DIR", help="Where everything is written.")] = Path("certs"),
    trust_domain: Annotated[
        str, typer.Option(metavar="NAME", help="The trust domain of a CA that is made.")
    ] = TRUST_DOMAIN,
    envoy: Annotated[
        str | None, typer.Option(metavar="SPIFFE_ID", help="Envoy's SPIFFE ID; its files go to DIR/envoy.")
    ] = None,
    dns: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A host name for Envoy's certificate; repeatable.")
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Stay, and renew everything at half its life.")] = False,
) -> None:
    """Issue certificates of one hour from a development CA.

    The CA is made where there is none.

    \b
    Example:
      authz dev ca web=spiffe://shop.example/web --envoy spiffe://shop.example/envoy --dns '*.shop.example'
    """
    from authz_server.dev.files import write_file
    from authz_server.dev.renewal import Holder, keep_renewed, to_envoy, to_pem_files
    from authz_server.dev.renewal import renew as issue
    from authz_server.dev.signals import stopped_by_signals
    from authz_server.envoy.config_secrets import bundles_secret

    named = [_named(text) for text in identities or ()]
    holders = [Holder(spiffe_id, to_pem_files(directory, name)) for name, spiffe_id in named]
    if envoy:
        holders.append(Holder(_spiffe_id(envoy), to_envoy(directory / "envoy"), tuple(dns or ())))
    _warn(f"the CA in {directory} gives any identity to whoever can read its key.")
    with _writing(directory, "--directory"):
        ca = _ca(directory, trust_domain)
        if envoy:
            write_file(directory / "envoy" / "bundles.yaml", bundles_secret([ca.bundle_pem]))
        due = issue(ca, holders)
    if renew:
        with stopped_by_signals():
            keep_renewed(ca, holders, due, Event())


@app.command("token")
def sign_token(
    subject: Annotated[str, typer.Option(help="Whose token it is (`sub`).")],
    scope: Annotated[list[str] | None, typer.Option(help="A scope; repeatable.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role; repeatable.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group; repeatable.")] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="NAME=VALUE, the value as JSON or as text; repeatable."),
    ] = None,
    lifetime: Annotated[str, typer.Option(metavar="DURATION", help="From `iat` to `exp`.")] = "5m",
    age: Annotated[
        str, typer.Option(metavar="DURATION", help="How long ago it was signed; longer than its life makes it expired.")
    ] = "0s",
    issuer: Annotated[str, typer.Option(help="Who signed it (`iss`).")] = ISSUER,
    audience: Annotated[str, typer.Option(help="Whom it is for (`aud`).")] = AUDIENCE,
    key: KeyOption = DEFAULT_KEY,
) -> None:
    """Print a token signed with the development issuer's key.

    \b
    Examples:
      authz dev token --subject ann --scope orders:read --claim customer=c7
      authz dev token --key run/demo/certs/issuer.key --subject sam --group support --lifetime 1h
    """
    issued, life = datetime.now(UTC) - _duration(age, "--age"), _duration(lifetime, "--lifetime")
    claims: dict[str, object] = {"sub": subject}
    if scope:
        claims["scope"] = " ".join(scope)
    claims |= {name: values for name, values in (("roles", role), ("groups", group)) if values}
    claims |= dict(_claim(text) for text in claim or ())
    signer = _issuer(key)
    if signer is None:
        raise typer.BadParameter(f"there is no {key}; `authz dev keys` makes one", param_hint="--key")
    _warn(f"the key {key} signs any token for whoever can read it.")
    typer.echo(signer.token(issuer, audience, claims, life, issued))


@app.command("keys")
def print_keys(key: KeyOption = DEFAULT_KEY) -> None:
    """Print the development issuer's public keys (JWKS).

    Its private key is made where there is none.

    \b
    Example:
      authz dev keys > certs/jwks.json
    """
    from authz_server.dev.issuer import create_issuer

    issuer = _issuer(key)
    if issuer is None:
        issuer = create_issuer()
        with _writing(key, "--key"):
            issuer.write(key)
    _warn(f"the key {key} signs any token for whoever can read it.")
    typer.echo(msgspec.json.format(msgspec.json.encode(issuer.jwks()), indent=2).decode())


@app.command("demo")
def demo(
    port: Annotated[int, typer.Option(min=1024, max=65000, help="Envoy's port; the others follow it.")] = DEFAULT_PORT,
    policies: Annotated[Path, typer.Option(metavar="DIR", help="The policies.")] = Path("policies"),
    directory: Annotated[Path, typer.Option(metavar="DIR", help="Where everything is written.")] = Path("run/demo"),
    envoy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An Envoy instead of the installed wheel's.")
    ] = None,
) -> None:
    """Run Envoy with mTLS, sample services and this server.

    Envoy asks the server about every request; commands to try are printed. Ctrl-C ends it.

    \b
    Examples:
      authz dev demo
      authz dev demo --port 20000 --policies policies
    """
    from authz_server.cli.configuration import there
    from authz_server.dev.demo import DemoError, installed_envoy, run_demo
    from authz_server.dev.demo_setup import Demo
    from authz_server.dev.layout import Files, Ports

    there(policies, "--policies")
    if envoy is not None and not envoy.is_file():
        raise typer.BadParameter(f"{envoy} is no file", param_hint="--envoy")
    try:
        program = str(envoy.absolute()) if envoy else installed_envoy()
        run_demo(Demo(Files(directory), Ports(port), policies), program, typer.echo)
    except (DemoError, OSError) as error:
        typer.echo(f"authz dev demo: {error}", err=True)
        raise typer.Exit(1) from None


def _ca(directory: Path, trust_domain: str) -> "DevelopmentCa":
    """The CA in the directory; a fresh one where there is none, or it will not outlive what it issues."""
    from authz_server.dev.ca import SVID_LIFETIME, create_ca, load_ca

    try:
        ca = load_ca(directory)
        if ca.expires > datetime.now(UTC) + SVID_LIFETIME:
            return ca
    except FileNotFoundError:
        pass
    except ValueError:
        problem = f"{directory / 'ca.pem'} and ca.key are not what `authz dev ca` writes; name another directory"
        raise typer.BadParameter(problem, param_hint="--directory") from None
    ca = create_ca(trust_domain)
    ca.write(directory)
    return ca


def _issuer(key: Path) -> "DevelopmentIssuer | None":
    """The issuer whose key is in the file; None where there is no file."""
    from authz_server.dev.issuer import load_issuer

    try:
        return load_issuer(key)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise typer.BadParameter(f"{key} cannot be read: {error.strerror}", param_hint="--key") from None
    except ValueError:
        problem = f"{key} is no key that `authz dev keys` made; name another file"
        raise typer.BadParameter(problem, param_hint="--key") from None


@contextmanager
def _writing(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"{path} cannot be used: {error.strerror}: {error.filename}"
        raise typer.BadParameter(problem, param_hint=option) from None


def _warn(why: str) -> None:
    typer.echo(f"FOR DEVELOPMENT ONLY: {why}", err=True)


def _named(text: str) -> tuple[str, str]:
    name, equals, spiffe_id = text.partition("=")
    if not equals or not name or "/" in name or name.startswith("."):
        hint = "write NAME=SPIFFE_ID, such as web=spiffe://shop.example/ns/front/sa/web"
        raise typer.BadParameter(f"`{text}`: {hint}")
    return name, _spiffe_id(spiffe_id)


def _spiffe_id(text: str) -> str:
    try:
        return parse_spiffe_id(text).text
    except InvalidSpiffeId as error:
        raise typer.BadParameter(f"`{text}` is no SPIFFE ID: {error}") from None


def _claim(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"`{text}`: write NAME=VALUE, such as customer=c7", param_hint="--claim")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def _duration(text: str, option: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(text))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
