"""`authz bundle`: policies as one signed file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from authz_server.cli import written
from authz_server.cli.configuration import counted, print_problems, there
from authz_server.policy.files import MAX_TOTAL_BYTES, read_directory

app = typer.Typer(help="Bundles: policies as one file, signed.", no_args_is_help=True)

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle, a .tar.gz.")]
KeyOption = Annotated[
    Path, typer.Option("--key", metavar="FILE", help="The private key, as `authz bundle keys` has it.")
]


@app.command()
def keys(
    private: Annotated[Path, typer.Argument(metavar="PRIVATE", help="Where the private key goes, for who signs.")],
    public: Annotated[Path, typer.Argument(metavar="PUBLIC", help="Where the public key goes, for who verifies.")],
) -> None:
    """Make a pair of keys (Ed25519, PEM).

    Nothing is overwritten; the private key can be read by its owner alone.

    \b
    Example:
      authz bundle keys bundle.key bundle.pub
    """
    from authz_server.policy.bundle import key_id

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with _told_errors():
        if public.exists():
            raise FileExistsError(None, "it is there already", str(public))
        with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pem)
        written.create(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    typer.echo(f"key {key_id(key.public_key())}")


@app.command()
def build(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The policies.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="BUNDLE", help="Where the bundle goes.")],
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Sign it with this private key.")] = None,
) -> None:
    """Make a bundle of policies without errors, and sign it.

    The same policies and key give the same bytes. An existing bundle is replaced.

    \b
    Examples:
      authz bundle build policies --output policies.tar.gz
      authz bundle build policies --output policies.tar.gz --key bundle.key
    """
    from authz_server.policy.bundle import build_bundle
    from authz_server.policy.loader import load_files

    signer = None if key is None else _private(key)
    files, problems = read_directory(there(directory))
    loaded = load_files(directory, files, problems)
    if loaded.problems:
        print_problems(loaded.problems)
        raise typer.Exit(1)
    with _told_errors(output):
        written.put(output, build_bundle(files, signer))
    signed = "signed" if signer else "not signed"
    typer.echo(f"{output}: {counted(len(files), 'file')}, revision {loaded.revision}, {signed}")


@app.command()
def sign(bundle: BundleArgument, key: KeyOption) -> None:
    """Sign a bundle, in place of a signature that it has.

    \b
    Example:
      authz bundle sign policies.tar.gz --key bundle.key
    """
    from authz_server.policy.bundle import key_id, sign_bundle

    signer = _private(key)
    with _told_errors(bundle):
        written.put(bundle, sign_bundle(_read(bundle), signer))
    typer.echo(f"{bundle}: signed by {key_id(signer.public_key())}")


@app.command()
def verify(
    bundle: BundleArgument,
    key: Annotated[list[Path], typer.Option("--key", metavar="FILE", help="A public key that is trusted; repeatable.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Unpack it into this new directory.")
    ] = None,
) -> None:
    """Check who signed a bundle, and unpack it.

    Refused are a bundle without a signature of one of the keys, and one whose files are not those that were signed.
    Several keys are for the time in which one replaces another. Exit codes: 0 good, 1 refused, 2 wrong usage.

    \b
    Examples:
      authz bundle verify policies.tar.gz --key bundle.pub
      authz bundle verify policies.tar.gz --key bundle.pub --output unpacked
    """
    from authz_server.policy.bundle import open_bundle

    trusted = [_public(each) for each in key]
    with _told_errors(bundle):
        opened = open_bundle(_read(bundle), trusted)
        if output is not None:
            written.create_directory(output, {file.path: file.content for file in opened.files})
    files = counted(len(opened.files), "file")
    place = "" if output is None else f", unpacked into {output}"
    typer.echo(f"{bundle}: {files}, revision {opened.manifest.revision}, signed by {opened.key}{place}")


@contextmanager
def _told_errors(bundle: Path | None = None) -> Iterator[None]:
    """Say why it was not done, and exit with 1."""
    from authz_server.policy.bundle import BundleError

    try:
        yield
    except BundleError as error:
        typer.echo(f"authz: {bundle}: {error} ({error.code})", err=True)
    except FileExistsError as error:
        typer.echo(f"authz: {error.filename}: it is there already, and nothing is overwritten", err=True)
    except OSError as error:
        typer.echo(f"authz: {error.filename or bundle}: {error.strerror or error}", err=True)
    else:
        return
    raise typer.Exit(1)


def _read(bundle: Path) -> bytes:
    from authz_server.policy.bundle import BundleError

    try:
        with bundle.open("rb") as stream:
            content = stream.read(MAX_TOTAL_BYTES + 1)
    except FileNotFoundError:
        raise typer.BadParameter(f"there is no file {bundle}", param_hint="BUNDLE") from None
    if len(content) > MAX_TOTAL_BYTES:
        raise BundleError("bundle_too_big", f"it has over {MAX_TOTAL_BYTES:,} bytes")
    return content


def _private(file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--key") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise typer.BadParameter(f"{file} is no private Ed25519 key in PEM without a password", param_hint="--key")
    return key


def _public(file: Path) -> Ed25519PublicKey:
    from authz_server.policy.bundle import parse_public_key

    try:
        return parse_public_key(file.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--key") from None
    except ValueError:
        raise typer.BadParameter(f"{file} is no public Ed25519 key in PEM", param_hint="--key") from None
