"""How Envoy and the server reach each other: mTLS, Unix sockets, one shared address."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from authz_server.dev.workers import worker_pids
from authz_server.envoy.service import SERVICE_NAME
from authz_server.errors import GrpcCode
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from tests.envoy.clients import Ask, Caller, http1
from tests.envoy.identities import AUTHZ_NAME, ENVOY_ID
from tests.envoy.stack import LOOPBACK, Stack, Variant, running_stack

POLICIES = {
    "orders.yaml": """
        kind: service
        name: orders
        hosts: [orders.shop.example]
        rules:
          - id: the-front-reads-orders
            effect: allow
            from: [{workloads: ["spiffe://shop.example/ns/front/**"]}]
            to: [{paths: ["/orders"]}]
    """
}
ENDPOINTS_FILE = "state/endpoints.yaml"
TLS = {"certificate": "certs/authz.pem", "key": "certs/authz.key", "client_ca": "certs/ca.pem", "clients": [ENVOY_ID]}


def unix_sockets() -> dict[str, Any]:
    """One socket for each worker."""
    return {"address": "unix:check-{worker}.sock", "endpoints_file": ENDPOINTS_FILE}


def shared_address() -> dict[str, Any]:
    """One address for all workers, which needs a port that is known."""
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    return {"address": f"{LOOPBACK}:{port}", "endpoints": "shared", "endpoints_file": ENDPOINTS_FILE}


def assert_decisions_arrive(stack: Stack) -> None:
    """Allow and deny get through."""
    assert http1(stack.identities.caller("web"), stack.port, Ask("GET", "/orders")).status == 200
    denied = http1(stack.identities.caller("batch"), stack.port, Ask("GET", "/orders"))
    assert (denied.status, denied.reason) == (403, "no_rule_allows")


def grpcio_on_unix_sockets() -> dict[str, Any]:
    """The library, where it is not the default."""
    return {**unix_sockets(), "transport": "grpcio"}


def lean_over_tcp() -> dict[str, Any]:
    """Our own, where it is not the default."""
    return {"address": f"{LOOPBACK}:0", "endpoints_file": ENDPOINTS_FILE, "transport": "lean"}


@pytest.mark.parametrize(
    ("listen", "grpcio"),
    [(unix_sockets, False), (grpcio_on_unix_sockets, True), (lean_over_tcp, False), (shared_address, True)],
)
def test_decisions_arrive(
    listen: Callable[[], dict[str, Any]], grpcio: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Envoy finds the workers by the endpoints file, wherever they listen and whoever speaks gRPC with it."""
    variant = Variant({"listen": listen()})
    with running_stack(tmp_path_factory.mktemp("way"), POLICIES, variant) as stack:
        assert_decisions_arrive(stack)
        loaded = ["cygrpc" in Path(f"/proc/{pid}/maps").read_text() for pid in worker_pids(stack.server.pid)]
        assert loaded == [grpcio, grpcio]


def test_with_mtls_only_the_named_client_is_answered(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Envoy proves who it is; another workload of the same authority learns nothing, whatever it asks."""
    variant = Variant({"tls": TLS}, mtls_to_check=True)
    with running_stack(tmp_path_factory.mktemp("mtls"), POLICIES, variant) as stack:
        assert_decisions_arrive(stack)
        answer = ask_directly(stack, stack.identities.caller("web"))
        assert answer.status.code == GrpcCode.PERMISSION_DENIED
        with pytest.raises(grpc.RpcError):
            ask_directly(stack, stack.identities.caller("foreign"))


def ask_directly(stack: Stack, caller: Caller) -> CheckResponse:
    """Call Check without Envoy, an empty request. Raises grpc.RpcError."""
    endpoints = json.loads((stack.directory / ENDPOINTS_FILE).read_text())["resources"][0]["endpoints"]
    address = endpoints[0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    options = [("grpc.ssl_target_name_override", AUTHZ_NAME)]
    with grpc.secure_channel(f"{LOOPBACK}:{address['port_value']}", caller.grpc_credentials(), options) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE_NAME}/Check")
        return CheckResponse.FromString(check(CheckRequest().SerializeToString(), timeout=10))
