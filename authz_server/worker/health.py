"""gRPC health (grpc.health.v1) of a worker."""

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from authz_server.envoy.service import SERVICE_NAME

_NAMES = ("", SERVICE_NAME)


class _Servicer(health.HealthServicer):  # type: ignore[misc]
    """Watches known names only: the library remembers every name that a client ever asked for."""

    def Watch(self, request: Any, context: grpc.ServicerContext, send_response_callback: Any = None) -> Any:  # noqa: N802, ANN401
        if request.service not in _NAMES:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return super().Watch(request, context, send_response_callback)


class Health:
    """NOT_SERVING until `set_serving`, for the server as a whole and for Check."""

    def __init__(self) -> None:
        self._servicer = _Servicer()
        self._set(health_pb2.HealthCheckResponse.NOT_SERVING)

    def add_to(self, server: grpc.Server) -> None:
        """Answer health checks on this server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def set_serving(self) -> None:
        """Say SERVING."""
        self._set(health_pb2.HealthCheckResponse.SERVING)

    def end(self) -> None:
        """Say NOT_SERVING for good."""
        self._servicer.enter_graceful_shutdown()

    def _set(self, status: int) -> None:
        for name in _NAMES:
            self._servicer.set(name, status)
