"""The Envoy configuration that fits our settings, as YAML."""

import yaml
from betterproto2 import Casing
from envoy_data_plane.envoy.config.bootstrap.v3 import Admin, Bootstrap, BootstrapStaticResources
from envoy_data_plane.envoy.config.core.v3 import Node
from envoy_data_plane.envoy.config.overload.v3 import OverloadManager, ResourceMonitor
from envoy_data_plane.envoy.extensions.resource_monitors.downstream_connections.v3 import DownstreamConnectionsConfig
from envoy_data_plane.google.protobuf import Any as AnyMessage

from authz_server.envoy.config_clusters import check_cluster, upstream_cluster
from authz_server.envoy.config_listener import listener
from authz_server.envoy.config_settings import EnvoySettings
from authz_server.envoy.config_sources import address

MAX_CONNECTIONS = 50_000
# Defaults that decide about safety are written out, so that a reader need not know them.
SPELLED_OUT: dict[str, dict[str, object]] = {
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz": {"failure_mode_allow": False, "clear_route_cache": False},
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": {
        "forward_client_cert_details": "SANITIZE"
    },
}
HEADER = """\
# Written by `authz envoy config`; change the settings rather than this file.
# Envoy is to be started in the directory that the relative paths begin in.
"""


def bootstrap(settings: EnvoySettings) -> Bootstrap:
    """The whole configuration of one Envoy."""
    connections = DownstreamConnectionsConfig(max_active_downstream_connections=MAX_CONNECTIONS)
    return Bootstrap(
        node=Node(id="edge", cluster="edge"),
        admin=Admin(address=address(settings.admin)),
        static_resources=BootstrapStaticResources(
            listeners=[listener(settings)],
            clusters=[check_cluster(settings), *(upstream_cluster(each) for each in settings.upstreams)],
        ),
        overload_manager=OverloadManager(
            resource_monitors=[
                ResourceMonitor(
                    name="envoy.resource_monitors.global_downstream_max_connections",
                    typed_config=AnyMessage.pack(connections),
                )
            ]
        ),
    )


def to_yaml(settings: EnvoySettings) -> str:
    """The configuration as Envoy reads it with `-c`."""
    document = bootstrap(settings).to_dict(casing=Casing.SNAKE)
    return HEADER + yaml.safe_dump(_spell_out(document), sort_keys=False, width=120)


def _spell_out(value: object) -> object:
    """The document with the defaults of SPELLED_OUT in it."""
    if isinstance(value, list):
        return [_spell_out(each) for each in value]
    if not isinstance(value, dict):
        return value
    type_name = value.get("@type", "").removeprefix("type.googleapis.com/")
    written = {name: _spell_out(each) for name, each in value.items()}
    return written | {name: default for name, default in SPELLED_OUT.get(type_name, {}).items() if name not in written}
