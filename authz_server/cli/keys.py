"""`authz keys`: API keys of users, in the file that the configuration names."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from authz_server.cli.configuration import ConfigOption, load_or_exit, print_problems
from authz_server.cli.values import alone, valid
from authz_server.control.api_key_file import ApiKeyFile, RevokedKey, UnknownKeyId, UnusableKeyFile
from authz_server.control.api_keys import Owner, Scope
from authz_server.documents.instants import instant
from authz_server.documents.invalid import InvalidValue
from authz_server.documents.quantities import parse_duration
from authz_server.identity.api_keys import ApiKey
from authz_server.policy.values import Network

app = typer.Typer(help="API keys: credentials of users who cannot have a token.", no_args_is_help=True)

LONGEST_LIFE_S = 366 * 86400.0
FileOption = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="The file; without it, `api_keys.file` of --config.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ExpiresOption = Annotated[str, typer.Option(metavar="DURATION", help="How long it is good; a year at most.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The key's id, which stands in it and in `list`.")]


@app.command()
def create(
    owner: Annotated[str, typer.Option(help="Whose key it is: the subject that rules name.")],
    scope: Annotated[list[str] | None, typer.Option(help="A scope; repeatable.")] = None,
    network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="Where it may come from; repeatable, default anywhere.")
    ] = None,
    expires: ExpiresOption = "90d",
    file: FileOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and print it once.

    Only a salted hash of its secret is kept. A running server takes it within a second.

    \b
    Examples:
      authz keys create --owner nightly-report --scope orders:read --expires 30d
      authz keys create --owner scanner --network 10.1.0.0/16 --config authz.yaml --json
    """
    valid(Owner, owner, "--owner")
    scopes = frozenset(valid(Scope, alone(text, "--scope", "scope"), "--scope") for text in scope or ())
    networks = tuple(valid(Network, text, "--network") for text in network or ())
    lifetime_s = _life(expires)
    with _told_errors():
        text, key = _file(file, config).create(owner, scopes=scopes, networks=networks, lifetime_s=lifetime_s)
    _print_once(text, key, as_json)


@app.command("list")
def list_keys(file: FileOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the keys, without their secrets.

    \b
    Examples:
      authz keys list
      authz keys list --json | jq -r '.keys[] | select(.state != "good") | .id'
    """
    with _told_errors():
        keys = _file(file, config).load()
    if as_json:
        typer.echo(msgspec.json.encode({"keys": [_facts(key) for key in keys]}).decode())
    elif keys:
        _print_table(keys)
    else:
        typer.echo("there are no keys; `authz keys create` makes one", err=True)


@app.command()
def rotate(
    key_id: IdArgument,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the secret before stays good as well.")
    ] = "1d",
    expires: ExpiresOption = "90d",
    file: FileOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a key another secret, and print it once.

    Owner, scopes and networks stay. The secret before is good for the overlap; 0s ends it now.

    \b
    Example:
      authz keys rotate k3v9x0q2m7ab --overlap 1h
    """
    overlap_s, lifetime_s = _duration(overlap, "--overlap"), _life(expires)
    with _told_errors():
        text, key = _file(file, config).rotate(key_id, overlap_s=overlap_s, lifetime_s=lifetime_s)
    _print_once(text, key, as_json)


@app.command()
def revoke(key_id: IdArgument, file: FileOption = None, config: ConfigOption = None) -> None:
    """Let a key be good no longer, within a second on a running server.

    \b
    Example:
      authz keys revoke k3v9x0q2m7ab
    """
    with _told_errors():
        key = _file(file, config).revoke(key_id)
    typer.echo(f"{key.id} of {key.owner} is revoked", err=True)


def _file(file: Path | None, config: Path | None) -> ApiKeyFile:
    if file is None:
        settings = load_or_exit(config).api_keys
        if settings is None:
            raise typer.BadParameter("the configuration has no `api_keys.file`; add it, or name the file: --file")
        file = settings.file
    return ApiKeyFile(file)


@contextmanager
def _told_errors() -> Iterator[None]:
    """Say what is wrong with the file, and exit with 1."""
    try:
        yield
    except UnusableKeyFile as error:
        print_problems(error.problems)
    except UnknownKeyId as error:
        typer.echo(f"authz: there is no key {error}; `authz keys list` shows those that there are", err=True)
    except RevokedKey as error:
        typer.echo(f"authz: the key {error} is revoked; `authz keys create` makes another", err=True)
    except OSError as error:
        typer.echo(f"authz: {error.filename or 'the file of API keys'}: {error.strerror or error}", err=True)
    else:
        return
    raise typer.Exit(1)


def _duration(text: str, option: str) -> float:
    try:
        return parse_duration(text)
    except InvalidValue as error:
        raise typer.BadParameter(f"{error.message}; {error.hint}", param_hint=option) from None


def _life(text: str) -> float:
    seconds = _duration(text, "--expires")
    if not 0 < seconds <= LONGEST_LIFE_S:
        raise typer.BadParameter("a key is good for a year at most", param_hint="--expires")
    return seconds


def _print_once(text: str, key: ApiKey, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode({"key": text, **_facts(key)}).decode())
        return
    typer.echo(text)
    if sys.stderr.isatty():
        typer.echo(
            f"This is the key of {key.owner}, good until {instant(key.expires)}. It is not shown again.", err=True
        )


def _facts(key: ApiKey) -> dict[str, Any]:
    replaced = [instant(secret.until) for secret in key.secrets if secret.until is not None]
    return {
        "id": key.id,
        "owner": key.owner,
        "state": _state(key),
        "scopes": sorted(key.scopes),
        "networks": key.networks,
        "created": instant(key.created),
        "expires": instant(key.expires),
        "secret_before_until": replaced[0] if replaced else None,
    }


def _state(key: ApiKey) -> str:
    if key.revoked:
        return "revoked"
    return "expired" if time.time() >= key.expires else "good"


def _print_table(keys: Sequence[ApiKey]) -> None:
    rows = [("ID", "OWNER", "STATE", "EXPIRES", "SCOPES", "NETWORKS")]
    for key in keys:
        scopes, networks = " ".join(sorted(key.scopes)) or "-", " ".join(key.networks) or "anywhere"
        rows.append((key.id, key.owner, _state(key), instant(key.expires), scopes, networks))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
