"""gRPC health (grpc.health.v1) of a worker: `Check`, which is what Envoy and Kubernetes ask."""

from collections.abc import Callable

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]

from authz_server.envoy.service import SERVICE_NAME
from authz_server.errors import GrpcCode
from authz_server.worker.calls import Call, CallRefused

METHOD = "/grpc.health.v1.Health/Check"

_NAMES = ("", SERVICE_NAME)


class Health:
    """NOT_SERVING until `set_serving`, for the server as a whole and for Check."""

    def __init__(self) -> None:
        self._status = health_pb2.HealthCheckResponse.NOT_SERVING
        self._ended = False
        self._condition: Callable[[], bool] | None = None

    def check(self, payload: bytes, _call: Call) -> bytes:
        """Answer a health check. Raises CallRefused."""
        try:
            name = health_pb2.HealthCheckRequest.FromString(payload).service
        except DecodeError:
            raise CallRefused(GrpcCode.INVALID_ARGUMENT, "the message is not a HealthCheckRequest") from None
        if name not in _NAMES:
            raise CallRefused(GrpcCode.NOT_FOUND, "unknown service")
        holds = self._condition is None or self._condition()
        status = self._status if holds else health_pb2.HealthCheckResponse.NOT_SERVING
        return bytes(health_pb2.HealthCheckResponse(status=status).SerializeToString())

    def serve_while(self, condition: Callable[[], bool]) -> None:
        """Say SERVING only while this holds; it is asked whenever we are."""
        self._condition = condition

    def set_serving(self) -> None:
        """Say SERVING."""
        if not self._ended:
            self._status = health_pb2.HealthCheckResponse.SERVING

    def end(self) -> None:
        """Say NOT_SERVING for good."""
        self._ended = True
        self._status = health_pb2.HealthCheckResponse.NOT_SERVING
