"""What is wrong with routes: those that are not asked about, and those that no policy speaks for."""

from collections.abc import Iterator

from authz_server.doctor.envoy import EXT_AUTHZ, Manager
from authz_server.doctor.finding import Finding
from authz_server.doctor.needs import Needs
from authz_server.doctor.view import View
from authz_server.policy.demand import MIN_REVISION_EXTENSION, unmet_demand

_PER_ROUTE = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"
_ADDED = "request_headers_to_add"


def about_routes(manager: Manager, needs: Needs) -> Iterator[Finding]:
    """The findings about the routes of one connection manager."""
    names = {each["name"].text for each in manager.filters if each["typed_config"].type == EXT_AUTHZ}
    for part in parts(manager.routes):
        for name, override in part["typed_per_filter_config"].items():
            if name in names or _PER_ROUTE in (override.type, override["config"].type):
                yield from _about_override(override, needs)
        yield from _about_written_headers(part, needs)
    for host in manager.routes["virtual_hosts"].each():
        yield from _about_domains(host, needs)


def parts(routes: View) -> Iterator[View]:
    """The configuration itself, its hosts, their routes, and the clusters that a route is split over."""
    yield routes
    for host in routes["virtual_hosts"].each():
        yield host
        for route in host["routes"].each():
            yield route
            yield from route.at("route", "weighted_clusters", "clusters").each()


def _about_override(override: View, needs: Needs) -> Iterator[Finding]:
    wrapped = override.type == FILTER_CONFIG
    disabled = [each["disabled"] for each in (override, override["config"]) if each["disabled"].on]
    if disabled:
        message = "nobody is asked about these requests: ext_authz is disabled here"
        yield Finding(
            "disabled_on_route", disabled[0].place, message, "# remove this whole entry of `typed_per_filter_config`"
        )
    settings = (override["config"] if wrapped else override)["check_settings"]
    for field in ("grpc_service", "http_service"):
        if settings[field]:
            message = "another server is asked about these requests"
            yield Finding("other_server_on_route", settings[field].place, message, f"# leave `{field}` out")
    service = settings.at("context_extensions", "service")
    if service and service.text not in needs.services:
        known = ", ".join(sorted(needs.services)) or "none"
        message = f"there is no service `{service.text}`, so all these requests are denied; there are: {known}"
        yield Finding("unknown_service", service.place, message, "context_extensions: {service: NAME}")
    demand = settings.at("context_extensions", MIN_REVISION_EXTENSION)
    unmet = unmet_demand(demand.text, needs.number) if demand else None
    if unmet is not None:
        mend = f'context_extensions: {{{MIN_REVISION_EXTENSION}: "{needs.number or "NUMBER"}"}}'
        yield Finding("revision_not_there", demand.place, f"all these requests are denied: {unmet}", mend)


def _about_written_headers(part: View, needs: Needs) -> Iterator[Finding]:
    """The router writes these after our answer."""
    for each in part[_ADDED].each():
        name = each.at("header", "key")
        if name.text.lower() in needs.identity_headers:
            message = f"Envoy writes `{name.text}` after our answer, which only we may write"
            yield Finding("identity_header_written", name.place, message, f"# leave it out of `{_ADDED}`")


def _about_domains(host: View, needs: Needs) -> Iterator[Finding]:
    for domain in host["domains"].each():
        name, _, port = domain.text.lower().partition(":")
        number = int(port) if port.isdecimal() else None
        # Of a wildcard some hosts may have a policy.
        if "*" not in name and not any(pattern.matches(name, number) for pattern in needs.hosts):
            if _named_service(host):
                continue
            message = f"no policy speaks for the host `{domain.text}`, so all its requests are denied"
            yield Finding("host_without_policy", domain.place, message, f"# in a policy: hosts: [{name}]")


def _named_service(host: View) -> bool:
    """Whether a route names the service, so that the host does not choose it."""
    return any(name == "context_extensions" for name in _names(host))


def _names(view: View) -> Iterator[str]:
    for name, below in view.items():
        yield name
        yield from _names(below)
    for below in view.each():
        yield from _names(below)
