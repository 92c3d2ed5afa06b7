"""The parts of an Envoy configuration that decide about ext_authz, from a file or from a running Envoy's dump."""

from collections.abc import Iterator

from msgspec import Struct

from authz_server.doctor.view import View

MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


class Chain(Struct, frozen=True):
    """A filter chain of a listener."""

    listener: str
    chain: View
    filters: tuple[View, ...]
    """The configurations of its network filters."""

    @property
    def tls(self) -> View:
        """Its DownstreamTlsContext; missing where the chain has no TLS."""
        return self.chain.at("transport_socket", "typed_config")


class Manager(Struct, frozen=True):
    """An HTTP connection manager and the routes that it uses."""

    chain: Chain
    config: View
    routes: View
    """Its RouteConfiguration; missing where it comes from elsewhere."""

    @property
    def filters(self) -> list[View]:
        """Its HTTP filters, in their order."""
        return self.config["http_filters"].each()


class Envoy(Struct, frozen=True):
    """What one Envoy does."""

    chains: tuple[Chain, ...]
    managers: tuple[Manager, ...]
    clusters: dict[str, View]
    admin: View
    unseen: tuple[str, ...]
    """What comes from elsewhere and was not looked at."""


def envoy_of(root: View) -> Envoy:
    """The parts of a bootstrap file, or of a dump."""
    dumped = root["configs"].each()
    if dumped:
        return _parts(
            _dumped_listeners(dumped), _dumped_clusters(dumped), _dumped_routes(dumped), _dumped_admin(dumped)
        )
    static = root["static_resources"]
    envoy = _parts(static["listeners"].each(), static["clusters"].each(), {}, root["admin"])
    dynamic = [f"{place}: {name} come from elsewhere" for name, place in _dynamic(root["dynamic_resources"])]
    return Envoy(envoy.chains, envoy.managers, envoy.clusters, envoy.admin, (*dynamic, *envoy.unseen))


def _parts(listeners: list[View], clusters: list[View], routes: dict[str, View], admin: View) -> Envoy:
    chains = tuple([chain for listener in listeners for chain in _chains(listener)])
    managers, unseen = [], []
    for chain in chains:
        for config in chain.filters:
            if config.type == MANAGER:
                name = config.at("rds", "route_config_name").text
                found = config["route_config"] or routes.get(name, View(None, config.place))
                managers.append(Manager(chain, config, found))
                if not found:
                    unseen.append(f"{config.place}: the routes of listener `{chain.listener}` come from elsewhere")
    return Envoy(chains, tuple(managers), {view["name"].text: view for view in clusters}, admin, tuple(unseen))


def _chains(listener: View) -> Iterator[Chain]:
    chains = listener["filter_chains"].each() + [view for view in [listener["default_filter_chain"]] if view]
    for chain in chains:
        filters = tuple([each["typed_config"] for each in chain["filters"].each()])
        yield Chain(listener["name"].text, chain, filters)
    direct = listener.at("api_listener", "api_listener")
    if direct:
        yield Chain(listener["name"].text, listener, (direct,))


def _dynamic(resources: View) -> Iterator[tuple[str, str]]:
    for field, name in {"lds_config": "listeners", "cds_config": "clusters"}.items():
        if resources[field]:
            yield name, resources[field].place


def _dumped_listeners(dumped: list[View]) -> list[View]:
    static = [each["listener"] for view in dumped for each in view["static_listeners"].each()]
    dynamic = [each.at("active_state", "listener") for view in dumped for each in view["dynamic_listeners"].each()]
    return [view for view in static + dynamic if view]


def _dumped_clusters(dumped: list[View]) -> list[View]:
    fields = ("static_clusters", "dynamic_active_clusters")
    return [each["cluster"] for view in dumped for field in fields for each in view[field].each()]


def _dumped_routes(dumped: list[View]) -> dict[str, View]:
    fields = ("static_route_configs", "dynamic_route_configs")
    routes = [each["route_config"] for view in dumped for field in fields for each in view[field].each()]
    return {route["name"].text: route for route in routes if route}


def _dumped_admin(dumped: list[View]) -> View:
    found = [view.at("bootstrap", "admin") for view in dumped if view["bootstrap"]]
    return found[0] if found else View(None, "")
