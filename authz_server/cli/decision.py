"""One decision with the policies, keys and bundles as they are now, on the engine that serves."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from secrets import token_bytes
from typing import Any

import msgspec
import typer
from msgspec import Struct

from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.cli import account
from authz_server.cli.account import NEAREST, Account, account_of
from authz_server.cli.configuration import from_here, print_problems
from authz_server.cli.explained import explained
from authz_server.control.api_keys import parse_api_keys
from authz_server.control.fetching import FetchFailed
from authz_server.control.key_source import DiscoverySource, UrlSource
from authz_server.control.keys import NO_KEYS
from authz_server.control.policies import known_names
from authz_server.control.revocations import parse_revocations
from authz_server.control.settings import BundleSettings, IssuerSettings, Settings
from authz_server.control.trust import workload_api_bundles
from authz_server.errors import OUTCOMES, Reason
from authz_server.identity.api_keys import ApiKey
from authz_server.identity.bundle import Bundle, InvalidBundle, parse_bundle
from authz_server.identity.cache import BoundedCache
from authz_server.identity.introspection import IntrospectionNeeded, opaque_tokens
from authz_server.identity.keys import InvalidKeySet, KeySet, parse_jwks
from authz_server.identity.revocations import Revocations
from authz_server.identity.settings import IdentitySettings
from authz_server.model import Decision, Request
from authz_server.pipeline import check
from authz_server.policy.conditions import ConditionRuntime
from authz_server.policy.explain import Explained, RuleOutcome
from authz_server.policy.index import PolicyIndex
from authz_server.policy.loader import Loaded
from authz_server.policy.plan import Plan
from authz_server.snapshot import Caches, Snapshot, build_verifiers

NOTHING_ALLOWED = (Reason.NO_RULE_ALLOWS, Reason.UNAUTHENTICATED)
FEW_RULES = 10
"""So many are shown without being asked for."""


class Decided(Struct, frozen=True):
    """A decision, and what it was made from."""

    decision: Decision
    request: Request
    plan: Plan
    identity: IdentitySettings
    max_body: int

    def explained(self, nearest: int = 0) -> Explained:
        """What came of each rule of the service, and of each reading of the path, and the nearest allow rules."""
        return explained(self.decision, self.request, self.plan, self.identity, self.max_body, nearest)

    def account(self) -> Account:
        """Why it was decided so."""
        return account_of(_record(self.decision), self.explained(NEAREST))


def decided(request: Request, settings: Settings, identity: IdentitySettings, loaded: Loaded) -> Decided:
    """The decision about one request now; with broken policies, print what is wrong and exit with 1."""
    if loaded.plan is None:
        print_problems(loaded.problems)
        raise typer.Exit(1)
    try:
        decision = check(request, _snapshot(settings, identity, loaded.plan), time.time())
    except IntrospectionNeeded:
        typer.echo("authz: whose this token is only its issuer can say, and this command asks nobody", err=True)
        raise typer.Exit(2) from None
    if decision.with_proof and decision.user is not None:
        typer.echo("authz: whether the DPoP proof was used before is known to a server only", err=True)
    return Decided(decision, request, loaded.plan, identity, settings.bodies.max)


def record(decided: Decided, explain: bool) -> str:
    """The decision as an audit record; `explain` adds why, as in `Account`."""
    fields = _record(decided.decision)
    more = msgspec.to_builtins(decided.account()) if explain else {}
    return msgspec.json.encode(fields | more).decode()


def _record(decision: Decision) -> dict[str, Any]:
    line = encode(decision, worker=0, latency_us=0, redaction=Redaction((), token_bytes(32)))
    fields: dict[str, Any] = msgspec.json.decode(line)
    return fields


def in_words(decided: Decided, explain: bool) -> str:
    """The decision for people: what, and why; where nothing allowed, what each allow rule lacked."""
    decision = decided.decision
    lines = _facts(decision)
    if explain:
        return "\n".join(lines + account.in_words(decided.account()))
    if decision.reason is not Reason.ALLOWED:
        found = decided.explained()
        lines += account.readings_in_words(found.readings)
        if decision.reason in NOTHING_ALLOWED:
            allowing = [each for each in found.rules if each.effect == "allow"]
            lines += _rules(allowing) if len(allowing) <= FEW_RULES else [_how_to_see(len(allowing))]
    return "\n".join(lines)


def _rules(outcomes: Sequence[RuleOutcome]) -> list[str]:
    width = max((len(each.rule) for each in outcomes), default=0)
    lines = [f"    {each.rule:<{width}}  {each.outcome}" for each in outcomes]
    return ["", "  allow rules", *lines] if lines else []


def _how_to_see(number: int) -> str:
    return f"\n  --explain says what each of the {number:,} allow rules lacked"


def _facts(decision: Decision) -> list[str]:
    outcome = OUTCOMES[decision.reason]
    status = decision.answer.status or outcome.http_status
    headline = "ALLOW" if decision.allowed else f"DENY  {status}"
    if decision.unenforced:
        headline += f"  would be DENY {status}: in audit"
    facts = {
        "reason": decision.reason,
        "rule": decision.rule,
        "service": decision.service,
        "detail": decision.detail,
        "audited": ", ".join(decision.audited) or None,
        "workload": None if decision.workload is None else decision.workload.id.text,
        "via": None if decision.workload is None else decision.workload.via,
        "user": None if decision.user is None else f"{decision.user.subject} of {decision.user.issuer}",
        "sets": ", ".join(f"{header.name}: {header.value}" for header in decision.answer.set_headers) or None,
        "revision": decision.revision,
    }
    return [headline, *(f"  {name:<9} {value}" for name, value in facts.items() if value is not None)]


def _snapshot(settings: Settings, identity: IdentitySettings, plan: Plan) -> Snapshot:
    hash_key = token_bytes(32)
    verifiers = build_verifiers(
        1,
        identity,
        _keys(settings),
        _bundles(settings),
        Caches(certificates=BoundedCache(1, 1 << 20), tokens=BoundedCache(1, 1 << 20)),
        hash_key=hash_key,
        on_unknown_key=lambda issuer: None,
        revocations=_revocations(settings),
        opaque=opaque_tokens(identity, hash_key),
        api_keys=_api_keys(settings),
    )
    index = PolicyIndex(plan, ConditionRuntime(), identity.identity_headers)
    return Snapshot(1, index, verifiers, max_body=settings.bodies.max)


def _keys(settings: Settings) -> dict[str, KeySet]:
    """The keys as they are now; what cannot be had is said, and is missing."""
    keys: dict[str, KeySet] = {}
    for name, issuer in settings.issuers.items():
        try:
            keys[name] = parse_jwks(_jwks(issuer))
        except (OSError, FetchFailed, InvalidKeySet) as error:
            typer.echo(f"authz: no keys of the issuer `{name}`: {_why(error)}", err=True)
    return keys


def _bundles(settings: Settings) -> dict[str, Bundle]:
    """The trust bundles as they are now; what cannot be had is said, and is missing."""
    bundles = {domain: parse_bundle(document) for domain, document in _from_workload_api(settings).items()}
    for domain, trust_domain in settings.workloads.trust_domains.items():
        try:
            if trust_domain.bundle is not None and not trust_domain.bundle.workload_api:
                bundles[domain] = parse_bundle(_bundle(trust_domain.bundle))
        except (OSError, FetchFailed, InvalidBundle) as error:
            typer.echo(f"authz: no bundle of the trust domain `{domain}`: {_why(error)}", err=True)
    return bundles


def _from_workload_api(settings: Settings) -> dict[str, bytes]:
    bundles = workload_api_bundles(settings.workloads, lambda: None, lambda _domain, _ok: None)
    if bundles is None:
        return {}
    try:
        asyncio.run(bundles.first())
    except FetchFailed as error:
        typer.echo(f"authz: no bundles from the Workload API: {error}", err=True)
    return bundles.documents


def _bundle(bundle: BundleSettings) -> bytes:
    if bundle.file is not None:
        return bundle.file.read_bytes()
    return asyncio.run(UrlSource(bundle.url or "").fetch())


def _revocations(settings: Settings) -> Revocations | None:
    """What is revoked now; where that is not known, nobody is told that all is well."""
    if settings.revocations is None:
        return None
    try:
        return parse_revocations(settings.revocations.read_bytes(), known_names(settings))
    except (OSError, ValueError) as error:
        typer.echo(f"authz: {_of(settings.revocations, error)}; a server that starts now decides nothing", err=True)
        raise typer.Exit(1) from None


def _api_keys(settings: Settings) -> tuple[ApiKey, ...]:
    """The API keys as they are now; what cannot be read is said, and there are none."""
    if settings.api_keys is None:
        return ()
    try:
        return parse_api_keys(settings.api_keys.file.read_bytes()).keys
    except (OSError, ValueError) as error:
        typer.echo(f"authz: no API keys: {_of(settings.api_keys.file, error)}", err=True)
        return ()


def _of(file: Path, error: Exception) -> str:
    return _why(error) if isinstance(error, OSError) else f"{from_here(file)}: {error}"


def _why(error: Exception) -> str:
    """In words, without numbers of the operating system."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{from_here(Path(error.filename))} cannot be read: {error.strerror}"
    return str(error)


def _jwks(issuer: IssuerSettings) -> bytes:
    if issuer.keys.file is not None:
        return issuer.keys.file.read_bytes()
    if issuer.keys.none:
        return NO_KEYS
    url = issuer.keys.url
    return asyncio.run((DiscoverySource(issuer.issuer) if url is None else UrlSource(url)).fetch())
