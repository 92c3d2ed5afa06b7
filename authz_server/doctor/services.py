"""What single services need of the listener that they are behind: upgrades, and paths as they were sent."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from authz_server.doctor.envoy import EXT_AUTHZ, Manager
from authz_server.doctor.finding import Finding
from authz_server.doctor.needs import Needs, ServiceNeeds
from authz_server.doctor.view import View
from authz_server.policy.patterns import HostPattern

_ESCAPED_SLASHES = "path_with_escaped_slashes_action"
KEPT = ("", "KEEP_UNCHANGED", "IMPLEMENTATION_SPECIFIC_DEFAULT")


def about_services(manager: Manager, needs: Needs) -> Iterator[Finding]:
    """The findings about what the services behind one connection manager cannot do."""
    served = [service for service in needs.each_service if is_served(service, manager)]
    action = manager.config[_ESCAPED_SLASHES]
    lenient = [service.name for service in served if service.lenient]
    if lenient and action.text not in KEPT:
        message = f"`{action.text}` keeps escaped slashes from `{lenient[0]}`, whose paths are lenient"
        yield Finding("escaped_slashes_withheld", action.place, message, f"{_ESCAPED_SLASHES}: KEEP_UNCHANGED")
    upgraded = set(_upgrades(manager.config)) | set(_upgrades_of_routes(manager.routes))
    for service in served:
        for protocol in sorted(service.upgrades - upgraded):
            message = f"rules of `{service.name}` allow upgrades to `{protocol}`, which Envoy refuses without asking"
            mend = f"upgrade_configs: [{{upgrade_type: {protocol}}}]"
            yield Finding("upgrade_not_enabled", manager.config["upgrade_configs"].place, message, mend)


def about_upgrades(manager: Manager) -> Iterator[Finding]:
    """The findings about upgrades that have filters of their own."""
    for each in manager.config["upgrade_configs"].each():
        filters = each["filters"].each()
        if filters and not any(one["typed_config"].type == EXT_AUTHZ for one in filters):
            message = f"upgrades to `{each['upgrade_type'].text}` have filters of their own, and nobody is asked"
            mend = f"upgrade_configs: [{{upgrade_type: {each['upgrade_type'].text}}}]"
            yield Finding("upgrade_without_ext_authz", each["filters"].place, message, mend)


def may_be_lenient(manager: Manager, needs: Needs) -> bool:
    """Whether a service with lenient paths is behind it, or may be, where its routes come from elsewhere."""
    lenient = [service for service in needs.each_service if service.lenient]
    return bool(lenient) and (not manager.routes or any(is_served(service, manager) for service in lenient))


def is_served(service: ServiceNeeds, manager: Manager) -> bool:
    """Whether a host or a route is this service's."""
    for host in manager.routes["virtual_hosts"].each():
        if _names_service(host, service.name):
            return True
        domains = [domain.text.lower() for domain in host["domains"].each()]
        if any(_meet(pattern, domain) for pattern in service.hosts for domain in domains):
            return True
    return False


def _names_service(view: View, name: str) -> bool:
    if view.at("context_extensions", "service").text == name:
        return True
    return any(_names_service(below, name) for below in [below for _, below in view.items()] + view.each())


def _meet(pattern: HostPattern, domain: str) -> bool:
    """Whether there is a host that fits both a policy's pattern and a domain of Envoy."""
    name, _, port = domain.partition(":")
    if "*" in name:
        return pattern.name == "*" or fnmatchcase(pattern.name, name)
    return pattern.matches(name, int(port) if port.isdecimal() else pattern.port)


def _upgrades(config: View) -> Iterator[str]:
    for each in config["upgrade_configs"].each():
        if not each["enabled"] or each["enabled"].on:
            yield each["upgrade_type"].text.lower()


def _upgrades_of_routes(routes: View) -> Iterator[str]:
    for host in routes["virtual_hosts"].each():
        for route in host["routes"].each():
            yield from _upgrades(route["route"])
