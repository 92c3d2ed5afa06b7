"""The clusters: the authorization server's workers, and the upstreams."""

from datetime import timedelta
from ipaddress import ip_address

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterCommonLbConfig,
    ClusterDiscoveryType,
    ClusterEdsClusterConfig,
    ClusterLbPolicy,
)
from envoy_data_plane.envoy.config.core.v3 import (
    HealthCheck,
    HealthCheckGrpcHealthCheck,
    Http1ProtocolOptions,
    TransportSocket,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    CommonTlsContextCombinedCertificateValidationContext,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.envoy.type.v3 import Percent
from envoy_data_plane.google.protobuf import Any

from authz_server.envoy.config_listener import BUFFER_BYTES, CHECK_CLUSTER
from authz_server.envoy.config_settings import Address, CheckPeer, EnvoySettings, Upstream
from authz_server.envoy.config_sources import (
    BUNDLES,
    CERTIFICATE,
    address,
    http2,
    secret,
    watched_file,
)
from authz_server.envoy.service import SERVICE_NAME

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def check_cluster(settings: EnvoySettings) -> Cluster:
    """The workers of the authorization server: one endpoint each, the least busy is asked."""
    cluster = Cluster(
        name=CHECK_CLUSTER,
        connect_timeout=timedelta(milliseconds=250),
        lb_policy=ClusterLbPolicy.LEAST_REQUEST,
        health_checks=[_serving()],
        # With the default of half, Envoy would ask workers that it knows to be gone.
        common_lb_config=ClusterCommonLbConfig(healthy_panic_threshold=Percent(value=0)),
        circuit_breakers=CircuitBreakers(
            thresholds=[CircuitBreakersThresholds(max_pending_requests=4096, max_requests=4096, max_retries=1024)]
        ),
        close_connections_on_host_health_failure=True,
        ignore_health_on_host_removal=True,
        typed_extension_protocol_options=_protocol(
            HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=http2(keepalive=True))
        ),
    )
    if settings.check_addresses:
        _locate(cluster, settings.check_addresses)
    else:
        cluster.type = ClusterDiscoveryType.EDS
        cluster.eds_cluster_config = ClusterEdsClusterConfig(eds_config=watched_file(settings.endpoints_file))
    if settings.check_peer:
        tls = _check_tls(settings.secrets, settings.check_peer)
        cluster.transport_socket = TransportSocket(name="envoy.transport_sockets.tls", typed_config=Any.pack(tls))
    return cluster


def upstream_cluster(upstream: Upstream) -> Cluster:
    """A service behind Envoy."""
    if upstream.scheme == "http2":
        protocol = HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=http2())
    else:
        protocol = HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=Http1ProtocolOptions())
    cluster = Cluster(
        name=upstream.host,
        connect_timeout=timedelta(seconds=1),
        per_connection_buffer_limit_bytes=BUFFER_BYTES,
        typed_extension_protocol_options=_protocol(protocol),
    )
    _locate(cluster, (upstream.address,))
    return cluster


def _serving() -> HealthCheck:
    """gRPC health of the Check service: a worker without policies says NOT_SERVING and is not asked."""
    return HealthCheck(
        timeout=timedelta(seconds=1),
        interval=timedelta(seconds=1),
        no_traffic_interval=timedelta(seconds=1),
        unhealthy_threshold=2,
        healthy_threshold=1,
        grpc_health_check=HealthCheckGrpcHealthCheck(service_name=SERVICE_NAME),
    )


def _locate(cluster: Cluster, addresses: tuple[Address, ...]) -> None:
    """Name the endpoints: found by DNS as soon as one of them is a name."""
    cluster.type = (
        ClusterDiscoveryType.STATIC if all(_is_ip(a.host) for a in addresses) else ClusterDiscoveryType.STRICT_DNS
    )
    endpoints = [LbEndpoint(endpoint=Endpoint(address=address(each))) for each in addresses]
    cluster.load_assignment = ClusterLoadAssignment(
        cluster_name=cluster.name, endpoints=[LocalityLbEndpoints(lb_endpoints=endpoints)]
    )


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _protocol(version: HttpProtocolOptionsExplicitHttpConfig) -> dict[str, Any]:
    return {_HTTP_OPTIONS: Any.pack(HttpProtocolOptions(explicit_http_config=version))}


def _check_tls(secrets: str, peer: CheckPeer) -> UpstreamTlsContext:
    """mTLS to Check, with the one SPIFFE ID that may answer for the authorization server."""
    server = SubjectAltNameMatcher(
        san_type=SubjectAltNameMatcherSanType.URI, matcher=StringMatcher(exact=peer.identity)
    )
    return UpstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_certificate_sds_secret_configs=[secret(secrets, CERTIFICATE)],
            combined_validation_context=CommonTlsContextCombinedCertificateValidationContext(
                default_validation_context=CertificateValidationContext(match_typed_subject_alt_names=[server]),
                validation_context_sds_secret_config=secret(secrets, BUNDLES),
            ),
            alpn_protocols=["h2"],
        )
    )
