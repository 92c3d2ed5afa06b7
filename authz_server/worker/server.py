"""The gRPC server of a worker: Check and health on one address."""

import errno
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

from msgspec.structs import replace

from authz_server.envoy.service import SERVICE_NAME
from authz_server.errors import Reason
from authz_server.worker.address import Address, UnixAddress
from authz_server.worker.calls import NOTHING_QUEUED, Call, Handler, Queued, Transport
from authz_server.worker.health import METHOD as HEALTH_CHECK
from authz_server.worker.health import Health
from authz_server.worker.key_pair import UnusableCertificate
from authz_server.worker.messages import WorkerSettings

QUIET_S = 0.5
LONGEST_WAIT_FOR_QUIET_S = 3.0

CHECK = f"/{SERVICE_NAME}/Check"


class CannotListen(Exception):
    """The address cannot be listened on; says which and why."""


class CheckServer:
    """Listens as the settings say; health is NOT_SERVING until `set_serving`."""

    def __init__(self, settings: WorkerSettings, check: Handler, queued: Queued = NOTHING_QUEUED) -> None:
        self._settings = settings
        self._check = check
        self._calls = 0
        self._health = Health()
        self._handlers = {CHECK: self._counted, HEALTH_CHECK: self._health.check}
        self._queued = replace(queued, deny=self._deny)
        self._deny_unread = queued.deny
        self._transport: Transport | None = None

    def start(self) -> Address:
        """Listen, and give back the address with the real port. Raises CannotListen."""
        transport = self._transport = _transport(self._settings, self._handlers, self._queued, self._health)
        address = transport.address
        transport.start()
        return address

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
        if self._transport is not None:
            self._transport.stop(max(0.0, end - time.monotonic()))

    def _deny(self, reason: Reason, calls: int) -> bytes:
        self._calls += calls
        return self._deny_unread(reason, calls)

    def _counted(self, payload: bytes, call: Call) -> bytes | None:
        self._calls += 1
        return self._check(payload, call)


def load_transport(name: str) -> None:
    """Import what this transport needs, and nothing that only another one does."""
    import_module("authz_server.worker.lean.server" if name == "lean" else "authz_server.worker.grpcio_transport")


def _transport(settings: WorkerSettings, handlers: Mapping[str, Handler], queued: Queued, health: Health) -> Transport:
    """What listens as the settings say. Raises CannotListen."""
    with _socket_mode(settings):
        if settings.transport == "lean":
            return _lean(settings, handlers, queued)
        return _grpcio(settings, handlers, queued, health)


def _lean(settings: WorkerSettings, handlers: Mapping[str, Handler], queued: Queued) -> Transport:
    # What one transport needs is not loaded by a worker that has the other.
    from authz_server.worker.lean.server import LeanServer

    try:
        return LeanServer(settings.address, handlers, queued)
    except OSError as error:
        raise CannotListen(f"cannot listen on {settings.address}: {_reason(error)}") from None


def _grpcio(settings: WorkerSettings, handlers: Mapping[str, Handler], queued: Queued, health: Health) -> Transport:
    from authz_server.worker.grpcio_transport import grpcio_server

    try:
        return grpcio_server(settings, handlers, queued, health)
    except UnusableCertificate as error:
        raise CannotListen(f"cannot listen on {settings.address}: {error}") from None
    except (RuntimeError, OSError) as error:
        raise CannotListen(f"cannot listen on {settings.address}: {_reason(error)}") from None


def _reason(error: RuntimeError | OSError) -> str:
    if isinstance(error, OSError) and error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
        return str(error.strerror)
    return "the address is in use, or not of this machine"


@contextmanager
def _socket_mode(settings: WorkerSettings) -> Iterator[None]:
    """Whatever is bound within has the mode of the settings, if it is a Unix socket."""
    address = settings.address
    if not isinstance(address, UnixAddress):
        yield
        return
    # The socket must never be wider open than it will be, not even before the chmod.
    previous = os.umask(0o777)
    try:
        yield
    finally:
        os.umask(previous)
    if settings.socket_group is not None:
        os.chown(address.path, -1, settings.socket_group)
    os.chmod(address.path, 0o600 if settings.socket_mode is None else settings.socket_mode)
