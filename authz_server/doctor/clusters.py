"""What is wrong with how Envoy reaches Check, and with who reaches Envoy's admin address."""

from collections.abc import Iterator

from authz_server.control.settings.places import is_loopback_host
from authz_server.doctor.envoy import EXT_AUTHZ, Envoy
from authz_server.doctor.finding import Finding
from authz_server.doctor.view import View

_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def about_clusters(envoy: Envoy) -> Iterator[Finding]:
    """The findings about the clusters that answer Check."""
    names = {
        filter_config["typed_config"].at("grpc_service", "envoy_grpc", "cluster_name").text
        for manager in envoy.managers
        for filter_config in manager.filters
        if filter_config["typed_config"].type == EXT_AUTHZ
    }
    for name in sorted(names & envoy.clusters.keys()):
        cluster = envoy.clusters[name]
        if any(cluster.find(_TLS)):
            continue
        for address in _addresses(cluster["load_assignment"]):
            if not is_loopback_host(address.text):
                message = f"Envoy asks `{address.text}` without TLS: whoever is in between may answer instead of us"
                mend = "# `authz envoy config --check-identity` writes the transport_socket for mTLS"
                yield Finding("check_without_tls", address.place, message, mend)


def _addresses(assignment: View) -> Iterator[View]:
    for locality in assignment["endpoints"].each():
        for endpoint in locality["lb_endpoints"].each():
            address = endpoint.at("endpoint", "address", "socket_address", "address")
            if address:
                yield address


def about_admin(envoy: Envoy) -> Iterator[Finding]:
    """The finding about an admin address that others reach."""
    address = envoy.admin.at("address", "socket_address", "address")
    if address and not is_loopback_host(address.text):
        message = f"Envoy's admin address is `{address.text}`: whoever reaches it can change what Envoy asks about"
        yield Finding(
            "admin_exposed", address.place, message, "admin: {address: {socket_address: {address: 127.0.0.1}}}"
        )
