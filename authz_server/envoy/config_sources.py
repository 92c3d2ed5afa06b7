"""Parts that several places of an Envoy configuration share: addresses, watched files, protocols."""

from datetime import timedelta
from pathlib import PurePath

from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    ApiVersion,
    ConfigSource,
    Http2ProtocolOptions,
    KeepaliveSettings,
    PathConfigSource,
    SocketAddress,
    WatchedDirectory,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import SdsSecretConfig

from authz_server.envoy import config_settings as settings

CERTIFICATE = "certificate"
BUNDLES = "bundles"
STREAM_WINDOW_BYTES = 64 * 1024
CONNECTION_WINDOW_BYTES = 1024 * 1024


def address(where: settings.Address) -> Address:
    """A TCP address as Envoy wants it."""
    return Address(socket_address=SocketAddress(address=where.host, port_value=where.port))


def watched_file(path: str) -> ConfigSource:
    """A resource in a file that Envoy reads again when anything is moved into the file's directory."""
    directory = WatchedDirectory(path=str(PurePath(path).parent))
    return ConfigSource(
        path_config_source=PathConfigSource(path=path, watched_directory=directory),
        resource_api_version=ApiVersion.V3,
    )


def secret(directory: str, name: str) -> SdsSecretConfig:
    """The secret `name` in `<directory>/<name>.yaml`."""
    return SdsSecretConfig(name=name, sds_config=watched_file(f"{directory}/{name}.yaml"))


def http2(keepalive: bool = False) -> Http2ProtocolOptions:
    """HTTP/2 with bounds on what one connection may hold."""
    ping = KeepaliveSettings(interval=timedelta(seconds=30), timeout=timedelta(seconds=5)) if keepalive else None
    return Http2ProtocolOptions(
        max_concurrent_streams=100,
        initial_stream_window_size=STREAM_WINDOW_BYTES,
        initial_connection_window_size=CONNECTION_WINDOW_BYTES,
        connection_keepalive=ping,
    )
