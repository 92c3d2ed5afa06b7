"""Envoy's access log: one JSON object per request, and one per connection that failed before any request."""

from collections.abc import Mapping

from envoy_data_plane.envoy.config.accesslog.v3 import AccessLog, AccessLogFilter, ExtensionFilter
from envoy_data_plane.envoy.config.core.v3 import SubstitutionFormatString
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel.v3 import ExpressionFilter
from envoy_data_plane.envoy.extensions.access_loggers.stream.v3 import StdoutAccessLog
from envoy_data_plane.google.protobuf import Any, Struct

EXT_AUTHZ = "envoy.filters.http.ext_authz"

_CONNECTION = {
    "time": "%START_TIME%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "peer_uri_san": "%DOWNSTREAM_PEER_URI_SAN%",
    "peer_subject": "%DOWNSTREAM_PEER_SUBJECT%",
    "sni": "%REQUESTED_SERVER_NAME%",
    "tls_version": "%DOWNSTREAM_TLS_VERSION%",
}
_REQUEST = _CONNECTION | {
    "request_id": "%REQ(X-REQUEST-ID)%",
    "protocol": "%PROTOCOL%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    # The query is left out: it may carry what is nobody's business.
    "path": "%PATH(NQ)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
    "upstream": "%UPSTREAM_HOST%",
    "decision_id": f"%DYNAMIC_METADATA({EXT_AUTHZ}:decision_id)%",
    "decision": f"%DYNAMIC_METADATA({EXT_AUTHZ}:decision)%",
    "reason": f"%DYNAMIC_METADATA({EXT_AUTHZ}:reason)%",
    "rule": f"%DYNAMIC_METADATA({EXT_AUTHZ}:rule)%",
    "service": f"%DYNAMIC_METADATA({EXT_AUTHZ}:service)%",
    "workload": f"%DYNAMIC_METADATA({EXT_AUTHZ}:workload)%",
}
_REFUSED_CONNECTION = _CONNECTION | {"tls_failure": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"}


def requests() -> AccessLog:
    """One line per request, with what the authorization server said about it."""
    return _stdout(_REQUEST)


def refused_connections() -> AccessLog:
    """One line per connection whose TLS handshake failed, such as one with a foreign CA's certificate."""
    failed = ExpressionFilter(expression="connection.transport_failure_reason != ''")
    extension = ExtensionFilter(name="envoy.access_loggers.extension_filters.cel", typed_config=Any.pack(failed))
    return _stdout(_REFUSED_CONNECTION, AccessLogFilter(extension_filter=extension))


def _stdout(fields: Mapping[str, str], only: AccessLogFilter | None = None) -> AccessLog:
    line = SubstitutionFormatString(json_format=Struct.from_dict(dict(fields)))
    return AccessLog(
        name="envoy.access_loggers.stdout", filter=only, typed_config=Any.pack(StdoutAccessLog(log_format=line))
    )
