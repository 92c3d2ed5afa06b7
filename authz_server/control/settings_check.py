"""Whether what the configuration names is there and can be used: files of keys and certificates, a group."""

import grp
import ssl
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from authz_server.control.api_keys import load_api_keys
from authz_server.control.policies import known_names
from authz_server.control.revocations import load_revocations
from authz_server.control.settings import LoadedSettings, Settings, TlsSettings
from authz_server.control.trust_files import read_trust_file
from authz_server.documents.problem import Problem
from authz_server.identity.bundle import parse_bundle
from authz_server.identity.keys import parse_jwks
from authz_server.identity.signing_keys import parse_signing_keys
from authz_server.policy.bundle import parse_public_key

Key = tuple[str | int, ...]
"""Where a value is in the configuration."""


class Unusable(Struct, frozen=True):
    """The value of a key of the configuration cannot be used."""

    key: Key
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.key))}: {self.message}" + (f"; {self.hint}" if self.hint else "")


def check_files(loaded: LoadedSettings) -> list[Problem]:
    """What the configuration names and nobody could use, each at its key; nothing where it is bad itself. Blocks."""
    settings, document = loaded.settings, loaded.document
    if settings is None or document is None:
        return []
    unusable = [*unusable_trust(settings), *unusable_group(settings)]
    if settings.tls is not None:
        unusable += unusable_tls(settings.tls)
    in_files: list[Problem] = []
    for found in (_revocations(settings), _api_keys(settings)):
        if isinstance(found, Unusable):
            unusable.append(found)
        else:
            in_files += found
    problems = [document.problem(one.key, "unusable_value", one.message, one.hint) for one in unusable] + in_files
    return sorted(problems, key=lambda problem: problem.position)


def unusable_trust(settings: Settings) -> Iterator[Unusable]:
    """Key files and bundles. A server starts without them, and waits for them."""
    for name, issuer in settings.issuers.items():
        if issuer.keys.file is not None:
            yield from _key_file(("issuers", name, "keys", "file"), issuer.keys.file)
        if issuer.introspection is not None:
            key = ("issuers", name, "introspection", "client_secret_file")
            yield from _secret(key, issuer.introspection.client_secret_file)
    yield from _signing_keys(settings)
    yield from _source(settings)
    for domain, trust_domain in settings.workloads.trust_domains.items():
        if trust_domain.bundle is not None and trust_domain.bundle.file is not None:
            yield from _bundle(("workloads", "trust_domains", domain, "bundle", "file"), trust_domain.bundle.file)
    yield from _workload_api(settings)


def _source(settings: Settings) -> Iterator[Unusable]:
    """The keys that bundles of policies are verified with, and the files with secrets and authorities."""
    source = settings.policies.source
    if source is None:
        return
    place = ("policies", "source", source.name)
    for number, file in enumerate(source.kind.keys):
        try:
            parse_public_key(read_trust_file(file))
        except OSError as error:
            yield _cannot_read((*place, "keys", number), file, error)
        except ValueError as error:
            yield Unusable((*place, "keys", number), f"{file}: {error}", "`authz bundle keys` makes one")
    for name, secret in source.kind.secrets.items():
        yield from _secret((*place, name), secret, "write the secret, and nothing else")
    if source.kind.ca_file is not None:
        yield from _authorities((*place, "ca_file"), source.kind.ca_file)


def _workload_api(settings: Settings) -> Iterator[Unusable]:
    scheme, _, path = (settings.workloads.workload_api or "").partition("://")
    if scheme == "unix" and not Path(path).is_socket():
        yield Unusable(("workloads", "workload_api"), f"there is no socket {path}", "a server waits for it")


def _signing_keys(settings: Settings) -> Iterator[Unusable]:
    """The private keys of upstream tokens, where the operator gives them."""
    token, key = settings.upstream_token, ("upstream_token", "key_file")
    if token is None or token.key_file is None:
        return
    try:
        if not parse_signing_keys(read_trust_file(token.key_file)):
            yield Unusable(key, f"{token.key_file} has no key", "write a JWK Set of private keys")
    except OSError as error:
        yield _cannot_read(key, token.key_file, error)
    except ValueError as error:
        yield Unusable(key, f"{token.key_file}: {error}", "write a JWK Set of private keys")


def _revocations(settings: Settings) -> Unusable | list[Problem]:
    """What is wrong with the file of revocations, or in it."""
    file = settings.revocations
    if file is None:
        return []
    try:
        content = read_trust_file(file)
    except OSError as error:
        return Unusable(("revocations",), f"{file}: {error.strerror or error}", "a server waits for it")
    return load_revocations(content, known_names(settings), str(file))[1]


def _api_keys(settings: Settings) -> Unusable | list[Problem]:
    """What is wrong with the file of API keys, or in it."""
    if settings.api_keys is None:
        return []
    file = settings.api_keys.file
    try:
        content = read_trust_file(file)
    except OSError as error:
        hint = "`authz keys create` makes it"
        return Unusable(("api_keys", "file"), f"{file}: {error.strerror or error}", hint)
    return load_api_keys(content, str(file))[1]


def unusable_group(settings: Settings) -> Iterator[Unusable]:
    """The group of the sockets."""
    group = settings.listen.socket.group
    if group is None:
        return
    try:
        grp.getgrnam(group)
    except KeyError:
        yield Unusable(("listen", "socket", "group"), f"there is no group `{group}` on this machine")


def unusable_tls(tls: TlsSettings) -> Iterator[Unusable]:
    """The files of the Check listener's TLS."""
    files = [*_unreadable(("tls", "certificate"), tls.certificate), *_unreadable(("tls", "key"), tls.key)]
    yield from files or _certificate_and_key(tls)
    if tls.client_ca is not None:
        yield from _authorities(("tls", "client_ca"), tls.client_ca)


def _authorities(key: Key, file: Path) -> Iterator[Unusable]:
    unreadable = [*_unreadable(key, file)]
    yield from unreadable
    if not unreadable and not _has_certificates(file):
        yield Unusable(key, f"{file} holds no certificates", "write the authorities as PEM")


def _certificate_and_key(tls: TlsSettings) -> Iterator[Unusable]:
    certificate, key = ("tls", "certificate"), ("tls", "key")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        # OpenSSL does not say which of the two it cannot use.
        if not _has_certificates(tls.certificate):
            message = f"{tls.certificate} holds no certificate"
            yield Unusable(certificate, message, "write the chain as PEM, the server's first")
        elif reason == "KEY_VALUES_MISMATCH":
            yield Unusable(key, f"{tls.key} is not the key of the certificate in {tls.certificate}")
        elif b"PRIVATE KEY-----" not in read_trust_file(tls.key):
            yield Unusable(key, f"{tls.key} holds no private key", "write it as PEM")
        else:
            yield Unusable(key, f"{tls.key} cannot be used: {reason}", "write a key without a pass phrase as PEM")


def _has_certificates(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):
        return False
    return True


def _key_file(key: Key, path: Path) -> Iterator[Unusable]:
    try:
        keys = parse_jwks(read_trust_file(path))
    except OSError as error:
        yield _cannot_read(key, path, error)
    except ValueError as error:
        yield Unusable(key, f"{path}: {error}", "write a JSON Web Key Set")
    else:
        if not keys.keys:
            yield Unusable(key, f"{path} holds no key that can be used", next(iter(keys.warnings), ""))


def _bundle(key: Key, path: Path) -> Iterator[Unusable]:
    try:
        content = read_trust_file(path)
        if b"PRIVATE KEY-----" in content:
            yield Unusable(key, f"{path} holds a private key", "a bundle has the authorities' certificates alone")
        elif not parse_bundle(content).usable:
            yield Unusable(key, f"{path} is empty", "write the authorities' certificates as PEM")
    except OSError as error:
        yield _cannot_read(key, path, error)
    except ValueError as error:
        yield Unusable(key, f"{path}: {error}")


def _secret(key: Key, path: Path, hint: str = "write the client's secret, and nothing else") -> Iterator[Unusable]:
    unreadable = [*_unreadable(key, path)]
    yield from unreadable
    if not unreadable and not read_trust_file(path).strip(b"\r\n"):
        yield Unusable(key, f"{path} is empty", hint)


def _unreadable(key: Key, path: Path) -> Iterator[Unusable]:
    try:
        read_trust_file(path)
    except OSError as error:
        yield _cannot_read(key, path, error)


def _cannot_read(key: Key, path: Path, error: OSError) -> Unusable:
    return Unusable(key, f"{path} cannot be read: {error.strerror or error}")
