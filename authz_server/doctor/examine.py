"""All findings about an Envoy configuration."""

from collections.abc import Iterator

from authz_server.doctor.before import about_changes_before
from authz_server.doctor.clusters import about_admin, about_clusters
from authz_server.doctor.envoy import Envoy
from authz_server.doctor.filters import about_filters
from authz_server.doctor.finding import SEVERITIES, Finding
from authz_server.doctor.listeners import about_chain, about_manager
from authz_server.doctor.needs import Needs
from authz_server.doctor.routes import about_routes
from authz_server.doctor.services import about_services, about_upgrades

_ORDER = {code: number for number, code in enumerate(SEVERITIES)}


def examine(envoy: Envoy, needs: Needs) -> list[Finding]:
    """Everything that does not fit, the worst first, each once."""
    found = dict.fromkeys(_findings(envoy, needs))
    worst = ["danger", "broken", "advice"]
    return sorted(found, key=lambda finding: (worst.index(finding.severity), _ORDER[finding.code]))


def _findings(envoy: Envoy, needs: Needs) -> Iterator[Finding]:
    for chain in envoy.chains:
        yield from about_chain(chain, envoy, needs)
    for manager in envoy.managers:
        yield from about_filters(manager, needs)
        yield from about_changes_before(manager, needs)
        yield from about_routes(manager, needs)
        yield from about_manager(manager, needs)
        yield from about_upgrades(manager)
        yield from about_services(manager, needs)
    yield from about_clusters(envoy)
    yield from about_admin(envoy)
