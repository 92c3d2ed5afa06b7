"""One decision with the policies, keys and bundles as they are now, on the engine that serves."""

import asyncio
import time
from pathlib import Path
from secrets import token_bytes

import typer

from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.cli.configuration import print_problems
from authz_server.control.key_source import DiscoverySource, FetchFailed, UrlSource
from authz_server.control.settings import IssuerSettings, Settings
from authz_server.errors import OUTCOMES
from authz_server.identity.bundle import Bundle, InvalidBundle, parse_bundle
from authz_server.identity.cache import BoundedCache
from authz_server.identity.keys import InvalidKeySet, KeySet, parse_jwks
from authz_server.identity.settings import IdentitySettings
from authz_server.model import Decision, Request
from authz_server.pipeline import check
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.index import PolicyIndex
from authz_server.policy.loader import load_policies
from authz_server.snapshot import Caches, Snapshot, build_verifiers


def decided(request: Request, settings: Settings, identity: IdentitySettings, policies: Path | None) -> Decision:
    """The decision about one request now; with broken policies, print what is wrong and exit with 1."""
    return check(request, _snapshot(settings, identity, policies), time.time())


def record(decision: Decision) -> str:
    """The decision as an audit record."""
    return encode(decision, worker=0, latency_us=0, redaction=Redaction((), token_bytes(32))).decode()


def explained(decision: Decision) -> str:
    """The decision for people: what, and why."""
    outcome = OUTCOMES[decision.reason]
    status = decision.answer.status or outcome.http_status
    headline = "ALLOW" if decision.allowed else f"DENY  {status}"
    facts = {
        "reason": decision.reason,
        "rule": decision.rule,
        "service": decision.service,
        "detail": decision.detail,
        "workload": None if decision.workload is None else decision.workload.id.text,
        "user": None if decision.user is None else f"{decision.user.subject} of {decision.user.issuer}",
        "sets": ", ".join(f"{header.name}: {header.value}" for header in decision.answer.set_headers) or None,
        "revision": decision.revision,
    }
    lines = [f"  {name:<9} {value}" for name, value in facts.items() if value is not None]
    return "\n".join([headline, *lines])


def _snapshot(settings: Settings, identity: IdentitySettings, policies: Path | None) -> Snapshot:
    loaded = load_policies(policies or settings.policies.directory)
    if loaded.plan is None:
        print_problems(loaded.problems)
        raise typer.Exit(1)
    verifiers = build_verifiers(
        1,
        identity,
        _keys(settings),
        _bundles(settings),
        Caches(certificates=BoundedCache(1, 1 << 20), tokens=BoundedCache(1, 1 << 20)),
        hash_key=token_bytes(32),
        on_unknown_key=lambda issuer: None,
    )
    return Snapshot(1, PolicyIndex(loaded.plan, ConditionRuntime(), identity.identity_headers), verifiers)


def _keys(settings: Settings) -> dict[str, KeySet]:
    """The keys as they are now; what cannot be had is said, and is missing."""
    keys: dict[str, KeySet] = {}
    for name, issuer in settings.issuers.items():
        try:
            keys[name] = parse_jwks(_jwks(issuer))
        except (OSError, FetchFailed, InvalidKeySet) as error:
            typer.echo(f"authz: no keys of the issuer `{name}`: {error}", err=True)
    return keys


def _bundles(settings: Settings) -> dict[str, Bundle]:
    """The trust bundles as they are now; what cannot be had is said, and is missing."""
    bundles: dict[str, Bundle] = {}
    for domain, trust_domain in settings.workloads.trust_domains.items():
        try:
            if trust_domain.bundle is not None:
                bundles[domain] = parse_bundle(trust_domain.bundle.read_bytes())
        except (OSError, InvalidBundle) as error:
            typer.echo(f"authz: no bundle of the trust domain `{domain}`: {error}", err=True)
    return bundles


def _jwks(issuer: IssuerSettings) -> bytes:
    if issuer.keys.file is not None:
        return issuer.keys.file.read_bytes()
    url = issuer.keys.url
    return asyncio.run((DiscoverySource(issuer.issuer) if url is None else UrlSource(url)).fetch())
