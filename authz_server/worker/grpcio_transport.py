"""The transport of grpcio: over TCP or a Unix socket, with TLS or without."""

from collections.abc import Mapping

from authz_server.worker.calls import Handler, Queued
from authz_server.worker.credentials import Credentials
from authz_server.worker.grpcio_server import GrpcioServer
from authz_server.worker.health import Health
from authz_server.worker.limits import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, MAX_STREAMS
from authz_server.worker.messages import WorkerSettings

MAX_WAITING_CALLS = 1_000_000
SHARED_CONNECTION_AGE_MS = 300_000
"""Connections to a shared address end after this time, to be spread anew; gRPC adds 10 % of jitter."""


def grpcio_server(
    settings: WorkerSettings, handlers: Mapping[str, Handler], queued: Queued, health: Health
) -> GrpcioServer:
    """A server that listens as the settings say. Raises RuntimeError, OSError, UnusableCertificate.

    While its certificate has expired, `health` says so.
    """
    server = GrpcioServer(_options(settings), handlers, queued)
    if settings.tls is None:
        server.listen(settings.address)
    else:
        credentials = Credentials(settings.tls)
        health.serve_while(lambda: credentials.good)
        server.listen(settings.address, credentials.for_server())
    return server


def _options(settings: WorkerSettings) -> list[tuple[str, int]]:
    options = [
        ("grpc.so_reuseport", int(settings.shared)),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        # Beyond them gRPC answers with an RPC error. Calls that wait are bounded by the streams of each connection.
        ("grpc.server.max_pending_requests", MAX_WAITING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", MAX_WAITING_CALLS),
        # Up to the first, gRPC never refuses; between the two it does at random.
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA_BYTES),
    ]
    if settings.shared:
        options.append(("grpc.max_connection_age_ms", SHARED_CONNECTION_AGE_MS))
    return options
