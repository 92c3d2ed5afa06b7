"""Rules that no request reaches, because it has another host or belongs to another service."""

from collections.abc import Sequence

from authz_server.policy.patterns import Literal, parse_host_pattern, parse_path_template
from authz_server.policy.plan import Plan, Service


def no_host_meets(hosts: Sequence[str], others: Sequence[str]) -> bool:
    """Whether no host fits a pattern of both."""
    ones, twos = [[parse_host_pattern(text) for text in each] for each in (hosts, others)]
    return not any(
        one.meets(other.name) and (one.port is None or other.port is None or one.port == other.port)
        for one in ones
        for other in twos
    )


def neighbours(plan: Plan) -> dict[str, list[Service]]:
    """By service, all that speak for one of its hosts, itself included."""
    by_host: dict[str, list[Service]] = {}
    for service in plan.services:
        for host in service.hosts:
            by_host.setdefault(host, []).append(service)
    return {
        service.name: list({other.name: other for host in service.hosts for other in by_host[host]}.values())
        for service in plan.services
    }


def elsewhere(template: str, service: Service, others: Sequence[Service]) -> str | None:
    """The other service to which all paths of a template belong, on all hosts of the one that names it; or None."""
    if len(others) == 1:
        return None
    segments = parse_path_template(template).segments
    literals = [part.text if isinstance(part, Literal) else None for part in segments]
    owners: set[str] = set()
    for host in service.hosts:
        claims = [
            (len(prefix), other.name)
            for other in others
            if host in other.hosts and literals[: len(prefix := _parts(other.path_prefix))] == prefix
        ]
        owner = max(claims, default=(0, service.name))[1]
        if owner == service.name:
            return None
        owners.add(owner)
    return min(owners)


def _parts(prefix: str) -> list[str]:
    return [part for part in prefix.split("/") if part]
