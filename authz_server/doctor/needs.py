"""What the policies and the configuration need of Envoy."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from authz_server.control.policies import known_names
from authz_server.control.settings import Settings
from authz_server.control.settings.identity import IntrospectionSettings
from authz_server.policy.patterns import HostPattern, parse_host_pattern
from authz_server.policy.plan import CallerItem, Plan, Service

_HEADER = "request.headers["
_HEADER_VALUES = "request.header_values["


class ServiceNeeds(Struct, frozen=True):
    """What one service needs of the listener that it is behind."""

    name: str
    hosts: tuple[HostPattern, ...]
    lenient: bool
    """Its paths are to arrive as they were sent."""
    upgrades: frozenset[str]
    """Protocols to which a rule allows upgrades, lower case."""


class Needs(Struct, frozen=True):
    """What must come with a request, and what exists."""

    certificates: bool
    """Workloads are known by their certificates."""
    headers: frozenset[str]
    """Lower case."""
    caller_headers: frozenset[str]
    """Those by which callers say who they are."""
    number: int | None
    """Of the policies' revision; None where it has none."""
    services: frozenset[str]
    each_service: tuple[ServiceNeeds, ...]
    hosts: tuple[HostPattern, ...]
    identity_headers: frozenset[str]
    """Headers that only we may write."""
    forwarded: bool | None
    """Whether Envoy is to append to `x-forwarded-client-cert`; None where the header is not read."""
    verified: bool
    """Every trust domain has a bundle, so that certificates are verified here again."""
    max_body: int | None
    """The bytes of the largest body that rules read; None where no rule reads any."""
    metadata: frozenset[str]
    """The namespaces of metadata that rules may read."""
    failures_are_errors: bool
    """We answer failures of ours as errors, which Envoy may let pass."""
    question_s: float
    """The longest that a question to an issuer about a token takes, without the wait for its turn."""


def needs_of(plan: Plan, settings: Settings) -> Needs:
    """What these policies need under these settings."""
    workloads, domains = settings.workloads, settings.workloads.trust_domains
    named = any(rule.callers and any(map(_names_workload, rule.callers)) for s in plan.services for rule in s.rules)
    set_headers = {name for service in plan.services for name in service.set_headers}
    return Needs(
        certificates=workloads.certificate == "required" and (named or bool(domains)),
        headers=frozenset(_headers(plan, settings)),
        caller_headers=frozenset(settings.caller_headers()),
        number=plan.number,
        services=frozenset(service.name for service in plan.services),
        each_service=tuple([_service_needs(service) for service in plan.services]),
        hosts=tuple([parse_host_pattern(host) for service in plan.services for host in service.hosts]),
        identity_headers=frozenset(settings.identity_headers) | known_names(settings).written_headers | set_headers,
        forwarded=None if workloads.xfcc is None else workloads.xfcc.appended,
        verified=all(domain.bundle is not None for domain in domains.values()),
        max_body=settings.bodies.max if any(service.body for service in plan.services) else None,
        metadata=frozenset(settings.metadata.namespaces),
        failures_are_errors=settings.answers.failures == "error",
        question_s=max([asked.timeout for asked in _asked(settings)], default=0.0),
    )


def _service_needs(service: Service) -> ServiceNeeds:
    hosts = tuple([parse_host_pattern(host) for host in service.hosts])
    allowed = [item for rule in service.rules if rule.effect == "allow" for item in rule.operations or ()]
    upgrades = frozenset([item.upgrade for item in allowed if item.upgrade is not None])
    return ServiceNeeds(service.name, hosts, service.lenient, upgrades)


def _names_workload(item: CallerItem) -> bool:
    return bool(item.workloads) or any(map(_names_workload, item.any_of))


def _asked(settings: Settings) -> list[IntrospectionSettings]:
    return [issuer.introspection for issuer in settings.issuers.values() if issuer.introspection is not None]


def _headers(plan: Plan, settings: Settings) -> Iterator[str]:
    yield from settings.caller_headers()
    if settings.clients.proxies:
        yield "x-forwarded-for"
    yield from _read(name for service in plan.services for name in service.inputs)


def _read(inputs: Iterable[str]) -> Iterator[str]:
    for name in inputs:
        for prefix in (_HEADER, _HEADER_VALUES):
            if name.startswith(prefix):
                yield name.removeprefix(prefix).rstrip("]").strip("\"'").lower()
