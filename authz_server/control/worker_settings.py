"""What the workers are told, made of the configuration."""

import grp
from collections.abc import Callable
from pathlib import Path
from secrets import token_bytes

from authz_server.control.addresses import worker_addresses
from authz_server.control.checked_file import NothingKept, NothingThere, read_own
from authz_server.control.cores import cpu_quota, usable_cores, worker_count
from authz_server.control.errors import CannotStart
from authz_server.control.secret_file import write_secret_file
from authz_server.control.settings import IssuerSettings, Settings, TlsSettings
from authz_server.identity.settings import (
    ApiKeySettings,
    ClaimNames,
    Dpop,
    ForwardedCallers,
    IdentitySettings,
    Introspection,
    Issuer,
    JwtSvids,
    TrustDomain,
    UpstreamTokens,
)
from authz_server.worker.messages import WorkerSettings, WorkerTls
from authz_server.worker.replays import prepare_replays

_HASH_KEY_BYTES = 32
_ANOTHER_KEY = "remove it for another one, with which hashes in later records differ from those before"


def identity_settings(settings: Settings) -> IdentitySettings:
    """Who is recognised, as plain data."""
    domains, xfcc, svids = settings.workloads.trust_domains, settings.workloads.xfcc, settings.workloads.jwt_svid
    keys, token = settings.api_keys, settings.upstream_token
    return IdentitySettings(
        issuers=tuple(_issuer(name, issuer) for name, issuer in settings.issuers.items()),
        trust_domains=tuple(TrustDomain(name, verify=domain.bundle is not None) for name, domain in domains.items()),
        certificate=settings.workloads.certificate,
        forwarded=None if xfcc is None else ForwardedCallers(tuple(xfcc.hops), appended=xfcc.appended),
        proxies=tuple(settings.clients.proxies),
        dpop=_dpop(settings),
        jwt_svids=None if svids is None else JwtSvids(svids.header, tuple(svids.audiences), svids.skew),
        api_keys=None if keys is None else ApiKeySettings(keys.name, keys.header),
        # What an upstream saw, it could show elsewhere; and what we say of the caller, the client may not.
        identity_headers=(*settings.identity_headers, *token_headers(settings)),
        upstream_tokens=None if token is None else UpstreamTokens(token.header, token.issuer, token.lifetime_s),
    )


def all_worker_settings(settings: Settings, ring: Callable[[int], Path], metrics: Path) -> list[WorkerSettings]:
    """The settings of each worker; `ring` makes the ring of a slot. Raises CannotStart, OSError."""
    replays = _prepare_replays(settings)
    cores = usable_cores()
    count = worker_count(cores, cpu_quota()) if settings.workers == "auto" else settings.workers
    group = settings.listen.socket.group
    hash_key = _hash_key(settings.run_directory / "hash.key")
    return [
        WorkerSettings(
            slot=slot,
            address=address,
            shared=settings.listen.endpoints == "shared",
            socket_mode=int(settings.listen.socket.mode, 8),
            socket_group=None if group is None else _group(group),
            tls=None if settings.tls is None else _tls(settings.tls),
            transport=settings.transport,
            core=cores[slot % len(cores)] if count > 1 else None,
            ring=str(ring(slot)),
            replays=None if replays is None else str(replays),
            metrics_directory=str(metrics),
            identity=identity_settings(settings),
            max_body=settings.bodies.max,
            metadata=tuple(settings.metadata.namespaces),
            secrets=(*settings.audit.secrets, *[f"request.headers[{name}]" for name in token_headers(settings)]),
            hash_key=hash_key,
            failures_are_errors=settings.answers.failures == "error",
            log_level=settings.log.level,
            log_format=settings.log.format,
        )
        for slot, address in enumerate(worker_addresses(settings.listen, count))
    ]


def token_headers(settings: Settings) -> list[str]:
    """The headers of their own that hold credentials, and the one that holds tokens of ours."""
    token = settings.upstream_token
    return [*settings.credential_headers(), *([] if token is None else [token.header])]


def _dpop(settings: Settings) -> Dpop | None:
    dpop = settings.dpop
    return None if dpop is None else Dpop(tuple(dpop.algorithms), dpop.max_age, dpop.skew, dpop.scheme)


def _prepare_replays(settings: Settings) -> Path | None:
    """The table of DPoP proofs that were used, which outlives a server; None without DPoP. Raises OSError."""
    dpop = _dpop(settings)
    if dpop is None or settings.dpop is None:
        return None
    path = settings.run_directory / "proofs.table"
    prepare_replays(path, settings.dpop.replay_entries, dpop)
    return path


def _issuer(name: str, issuer: IssuerSettings) -> Issuer:
    return Issuer(
        name=name,
        issuer=issuer.issuer,
        audiences=tuple(issuer.audiences),
        algorithms=tuple(issuer.algorithms),
        claims=ClaimNames(issuer.claims.scopes, issuer.claims.roles, issuer.claims.groups),
        max_lifetime_s=issuer.max_lifetime,
        skew_s=issuer.skew,
        token_types=tuple(issuer.token_types),
        accept_id_tokens=issuer.accept_id_tokens,
        introspection=_introspection(issuer),
    )


def _introspection(issuer: IssuerSettings) -> Introspection | None:
    settings = issuer.introspection
    if settings is None:
        return None
    return Introspection(
        url=settings.url,
        client_id=settings.client_id,
        client_secret_file=str(settings.client_secret_file),
        timeout_s=settings.timeout,
        max_age_s=settings.max_age,
        all_tokens=issuer.keys.none is True,
    )


def _tls(tls: TlsSettings) -> WorkerTls:
    client_ca = None if tls.client_ca is None else str(tls.client_ca)
    return WorkerTls(str(tls.certificate), str(tls.key), client_ca, tuple(tls.clients))


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise CannotStart(f"listen.socket.group: there is no group `{name}` on this machine") from None


def _hash_key(path: Path) -> bytes:
    """The key of keyed hashes in records: kept, so that equal values look equal after a restart as well.

    One that somebody else could know makes the hashes no secret, so that it is not used. Raises CannotStart, OSError.
    """
    try:
        key = read_own(path, _HASH_KEY_BYTES)
    except NothingThere:
        key = token_bytes(_HASH_KEY_BYTES)
        write_secret_file(path, key)
    except NothingKept as error:
        raise CannotStart(f"{path}, the key of hashes in records, cannot be used: {error}; {_ANOTHER_KEY}") from None
    if len(key) != _HASH_KEY_BYTES:
        raise CannotStart(f"{path}, the key of hashes in records, has {len(key)} bytes and is no key; {_ANOTHER_KEY}")
    return key
