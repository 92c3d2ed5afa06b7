"""The listener: mTLS that asks for a client certificate, a hardened HTTP front, and ext_authz last before the router.

The hardening follows Envoy's "Configuring Envoy as an edge proxy".
"""

from datetime import timedelta

from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutation as Mutation
from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutationRules
from envoy_data_plane.envoy.config.core.v3 import (
    ApiVersion,
    BackoffStrategy,
    GrpcService,
    GrpcServiceEnvoyGrpc,
    HttpProtocolOptions,
    HttpProtocolOptionsHeadersWithUnderscoresAction,
    RetryPolicy,
    RetryPolicyRetryHostPredicate,
    TransportSocket,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener, ListenerFilter
from envoy_data_plane.envoy.config.route.v3 import Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost
from envoy_data_plane.envoy.extensions.filters.http.ext_authz.v3 import (
    BufferSettings,
    CheckSettings,
    ExtAuthz,
    ExtAuthzPerRoute,
)
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.listener.tls_inspector.v3 import TlsInspector
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerForwardClientCertDetails,
    HttpConnectionManagerPathWithEscapedSlashesAction,
    HttpConnectionManagerSetCurrentClientCertDetails,
    HttpConnectionManagerUpgradeConfig,
    HttpFilter,
)
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation.v3 import HeaderMutation
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CommonTlsContext,
    DownstreamTlsContext,
    TlsParameters,
    TlsParametersTlsProtocol,
)
from envoy_data_plane.envoy.type.v3 import HttpStatus, StatusCode
from envoy_data_plane.google.protobuf import Any

from authz_server.envoy import config_access_log as access_log
from authz_server.envoy.config_settings import EnvoySettings, Upstream
from authz_server.envoy.config_sources import BUNDLES, CERTIFICATE, address, http2, secret
from authz_server.envoy.response import DECISION_ID_HEADER
from authz_server.request.body import SENT_EXTENSION

CHECK_CLUSTER = "authz"
BUFFER_BYTES = 32 * 1024


def listener(settings: EnvoySettings) -> Listener:
    """The one listener, for every upstream."""
    # Envoy refuses a body that is longer than its buffer while it is still waiting to send some of it.
    buffer = max(BUFFER_BYTES, 2 * settings.max_body) if _reads_bodies(settings) else BUFFER_BYTES
    chain = FilterChain(
        filters=[
            Filter(
                name="envoy.filters.network.http_connection_manager", typed_config=Any.pack(_http_connections(settings))
            )
        ],
        transport_socket=TransportSocket(name="envoy.transport_sockets.tls", typed_config=Any.pack(_tls(settings))),
        transport_socket_connect_timeout=timedelta(seconds=10),
    )
    return Listener(
        name="edge",
        address=address(settings.listener),
        per_connection_buffer_limit_bytes=buffer,
        listener_filters=[
            # Reads the server name early, so that it stands in the log of a handshake that fails.
            ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=Any.pack(TlsInspector()))
        ],
        filter_chains=[chain],
        access_log=[access_log.refused_connections()],
    )


def _tls(settings: EnvoySettings) -> DownstreamTlsContext:
    """TLS that asks for a client certificate and does not require one: users come without."""
    return DownstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_params=TlsParameters(tls_minimum_protocol_version=TlsParametersTlsProtocol.TLSv1_2),
            tls_certificate_sds_secret_configs=[secret(settings.secrets, CERTIFICATE)],
            validation_context_sds_secret_config=secret(settings.secrets, BUNDLES),
            alpn_protocols=["h2", "http/1.1"],
        ),
        require_client_certificate=False,
        # A resumed session would bring back a certificate that is not verified again.
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )


def _http_connections(settings: EnvoySettings) -> HttpConnectionManager:
    forwarding, append = HttpConnectionManagerForwardClientCertDetails, settings.append_client_certificate
    escaped = HttpConnectionManagerPathWithEscapedSlashesAction
    return HttpConnectionManager(
        stat_prefix="edge",
        route_config=_routes(settings),
        http_filters=[
            HttpFilter(name=access_log.EXT_AUTHZ, typed_config=Any.pack(_ext_authz(settings))),
            HttpFilter(name="envoy.filters.http.router", typed_config=Any.pack(Router())),
        ],
        access_log=[access_log.requests()],
        common_http_protocol_options=HttpProtocolOptions(
            idle_timeout=timedelta(hours=1),
            headers_with_underscores_action=HttpProtocolOptionsHeadersWithUnderscoresAction.REJECT_REQUEST,
        ),
        http2_protocol_options=http2(),
        stream_idle_timeout=timedelta(minutes=5),
        request_headers_timeout=timedelta(seconds=10),
        use_remote_address=True,
        forward_client_cert_details=forwarding.APPEND_FORWARD if append else forwarding.SANITIZE,
        set_current_client_cert_details=HttpConnectionManagerSetCurrentClientCertDetails(uri=True) if append else None,
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=escaped.KEEP_UNCHANGED
        if settings.keep_escaped_slashes
        else escaped.REJECT_REQUEST,
        # Without it Envoy refuses them all; with it they are ours to decide, like everything else.
        upgrade_configs=[HttpConnectionManagerUpgradeConfig(upgrade_type="websocket")],
        early_header_mutation_extensions=[_remove_asserted_headers(settings)],
    )


def _remove_asserted_headers(settings: EnvoySettings) -> TypedExtensionConfig:
    """Headers that only the authorization server may write: what a client sends under these names is dropped."""
    names = sorted({DECISION_ID_HEADER, *settings.identity_headers})
    mutations = HeaderMutation(mutations=[Mutation(remove=name) for name in names])
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation", typed_config=Any.pack(mutations)
    )


def _routes(settings: EnvoySettings) -> RouteConfiguration:
    hosts = [
        VirtualHost(
            name=upstream.host,
            domains=[upstream.host],
            routes=[Route(match=RouteMatch(prefix="/"), route=RouteAction(cluster=upstream.host))],
            typed_per_filter_config=_about_body(upstream, settings),
        )
        for upstream in settings.upstreams
    ]
    return RouteConfiguration(name="edge", virtual_hosts=hosts, ignore_port_in_host_matching=True)


def _about_body(upstream: Upstream, settings: EnvoySettings) -> dict[str, Any]:
    """Says that bodies are sent, for one that is kept back looks like none; or keeps Envoy from waiting for them."""
    if not _reads_bodies(settings):
        return {}
    if upstream.body:
        check_settings = CheckSettings(context_extensions={SENT_EXTENSION: str(_sent_bytes(settings))})
    else:
        check_settings = CheckSettings(disable_request_body_buffering=True)
    return {access_log.EXT_AUTHZ: Any.pack(ExtAuthzPerRoute(check_settings=check_settings))}


def _reads_bodies(settings: EnvoySettings) -> bool:
    return any(upstream.body for upstream in settings.upstreams)


def _sent_bytes(settings: EnvoySettings) -> int:
    """One byte more than is read, so that a larger body is known to be one."""
    return settings.max_body + 1


def _request_body(settings: EnvoySettings) -> BufferSettings | None:
    """For the whole filter, because only there Envoy heeds `pack_as_bytes`."""
    if not _reads_bodies(settings):
        return None
    return BufferSettings(max_request_bytes=_sent_bytes(settings), allow_partial_message=True, pack_as_bytes=True)


def _ext_authz(settings: EnvoySettings) -> ExtAuthz:
    return ExtAuthz(
        grpc_service=GrpcService(
            envoy_grpc=GrpcServiceEnvoyGrpc(cluster_name=CHECK_CLUSTER),
            timeout=timedelta(seconds=settings.check_timeout_s),
            retry_policy=_retry_elsewhere(),
        ),
        transport_api_version=ApiVersion.V3,
        failure_mode_allow=False,
        status_on_error=HttpStatus(code=StatusCode.ServiceUnavailable),
        include_peer_certificate=True,
        include_tls_session=True,
        encode_raw_headers=True,
        with_request_body=_request_body(settings),
        metadata_context_namespaces=list(settings.metadata),
        validate_mutations=True,
        clear_route_cache=False,
        decoder_header_mutation_rules=HeaderMutationRules(disallow_system=True, disallow_is_error=True),
    )


def _retry_elsewhere() -> RetryPolicy:
    """Ask another worker when one is gone: a Check changes nothing, so it may be asked twice."""
    return RetryPolicy(
        retry_on="connect-failure,refused-stream,reset,unavailable",
        num_retries=2,
        # Envoy takes the longest pause for the timeout of each try as well: it must leave a worker time to answer.
        retry_back_off=BackoffStrategy(
            base_interval=timedelta(milliseconds=10), max_interval=timedelta(milliseconds=250)
        ),
        retry_host_predicate=[
            RetryPolicyRetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts", typed_config=Any.pack(PreviousHostsPredicate())
            )
        ],
        # Of two endpoints, the one that is gone looks least busy, so that three choices of four are it again.
        host_selection_retry_max_attempts=64,
    )
