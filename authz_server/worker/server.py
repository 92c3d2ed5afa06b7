"""The gRPC server of a worker: Check and health on one address."""

import os
import time

from authz_server.envoy.service import SERVICE_NAME
from authz_server.worker.address import Address, TcpAddress
from authz_server.worker.calls import Call, CallServer, Handler
from authz_server.worker.credentials import Credentials, UnusableCertificate
from authz_server.worker.health import METHOD as HEALTH_CHECK
from authz_server.worker.health import Health
from authz_server.worker.messages import WorkerSettings

MAX_STREAMS = 1000
"""Calls at once on one connection (RFC 9113 section 5.1.2)."""
MAX_WAITING_CALLS = 1_000_000
MAX_METADATA_BYTES = 8 * 1024 * 1024
"""Envoy sends a client's `tracestate` along with Check: no client may choose a size that ends in an RPC error. This is
the most that Envoy can be told to accept as headers."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024 + 64 * 1024
SHARED_CONNECTION_AGE_MS = 300_000
"""Connections to a shared address end after this time, to be spread anew; gRPC adds 10 % of jitter."""
QUIET_S = 0.5
LONGEST_WAIT_FOR_QUIET_S = 3.0

CHECK = f"/{SERVICE_NAME}/Check"


class CannotListen(Exception):
    """The address cannot be listened on; says which and why."""


class CheckServer:
    """Listens as the settings say; health is NOT_SERVING until `set_serving`."""

    def __init__(self, settings: WorkerSettings, check: Handler) -> None:
        self._settings = settings
        self._check = check
        self._calls = 0
        self._health = Health()
        self._server = CallServer(_options(settings), {CHECK: self._counted, HEALTH_CHECK: self._health.check})

    def start(self) -> Address:
        """Listen, and give back the address with the real port. Raises CannotListen."""
        address = self._settings.address
        try:
            port = self._bind(address)
        except (RuntimeError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else "the address is in use, or not of this machine"
            raise CannotListen(f"cannot listen on {address}: {reason}") from None
        except UnusableCertificate as error:
            raise CannotListen(f"cannot listen on {address}: {error}") from None
        self._server.start()
        return TcpAddress(address.host, port) if isinstance(address, TcpAddress) else address

    def set_serving(self) -> None:
        """Say SERVING from now on, until `drain`."""
        self._health.set_serving()

    def drain(self, grace_s: float) -> None:
        """Say NOT_SERVING, answer until no call comes any more, finish those in flight; at most `grace_s`."""
        end = time.monotonic() + grace_s
        self._health.end()
        quiet_end = min(end, time.monotonic() + LONGEST_WAIT_FOR_QUIET_S)
        seen = -1
        while seen != self._calls and time.monotonic() < quiet_end:
            seen = self._calls
            time.sleep(min(QUIET_S, max(0.0, quiet_end - time.monotonic())))
        self._server.stop(max(0.0, end - time.monotonic()))

    def _counted(self, payload: bytes, call: Call) -> bytes | None:
        self._calls += 1
        return self._check(payload, call)

    def _bind(self, address: Address) -> int:
        if isinstance(address, TcpAddress):
            return self._add_port(address)
        mode = self._settings.socket_mode if self._settings.socket_mode is not None else 0o600
        # The socket must never be wider open than it will be, not even before the chmod.
        previous = os.umask(0o777)
        try:
            port = self._add_port(address)
        finally:
            os.umask(previous)
        if self._settings.socket_group is not None:
            os.chown(address.path, -1, self._settings.socket_group)
        os.chmod(address.path, mode)
        return port

    def _add_port(self, address: Address) -> int:
        tls = self._settings.tls
        if tls is None:
            return self._server.add_port(str(address))
        return self._server.add_port(str(address), Credentials(tls).for_server())


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
