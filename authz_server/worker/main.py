"""The life of a worker: listen, prepare and activate snapshots, answer pings, drain."""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import structlog

from authz_server.audit.recorder import Recorder
from authz_server.audit.redaction import Redaction
from authz_server.audit.ring import RingError, RingProducer
from authz_server.envoy.service import CheckService, Introspect
from authz_server.errors import Reason
from authz_server.identity.cache import BoundedCache
from authz_server.identity.introspection import OpaqueTokens, opaque_tokens
from authz_server.identity.spiffe import InvalidSpiffePattern
from authz_server.model import Decision
from authz_server.policy.collection import free_in_steps
from authz_server.telemetry.logs import configure_logs
from authz_server.telemetry.worker_metrics import CacheState, WorkerMetrics
from authz_server.worker.calls import Call, Handler, Pressure, Queued
from authz_server.worker.candidates import CandidateWatch
from authz_server.worker.channel import Channel
from authz_server.worker.giving_way import giving_way
from authz_server.worker.messages import (
    ORPHAN_GRACE_S,
    SPARE_NAME,
    WORKER_NAME,
    Activate,
    Activated,
    Begun,
    Broken,
    Drain,
    Failed,
    Listen,
    Listening,
    Ping,
    Pong,
    Prepare,
    Prepared,
    Start,
    ToWorker,
    UnknownKey,
    WorkerSettings,
)
from authz_server.worker.peers import Peers
from authz_server.worker.replays import CountedReplayTable, ReplayTable, ReplayTableError
from authz_server.worker.scheduling import interrupt_nobody
from authz_server.worker.server import CHECK, CannotListen, CheckServer
from authz_server.worker.snapshots import Snapshots, indexes_of
from authz_server.worker.unknown_keys import UnknownKeys

SWITCH_S = 0.0005
"""How long one thread runs Python while another waits for it."""


def run_worker(connection: socket.socket) -> int:
    """Serve until told to drain, until SIGTERM, or until the control process is gone; returns the exit code."""
    channel = Channel(connection)
    name_process(SPARE_NAME)
    # Ctrl-C reaches the whole process group; the control process says what is to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: channel.stop_receiving())
    start = channel.receive()
    if not isinstance(start, Start):
        return 1
    settings = start.settings
    name_process(f"{WORKER_NAME}{settings.slot}")
    configure_logs(settings.log_level, settings.log_format, worker=settings.slot)
    _schedule(settings)
    try:
        worker = _Worker(settings, channel)
    except (InvalidSpiffePattern, RingError, ReplayTableError, OSError) as error:
        channel.send(Broken(str(error)))
        return 1
    channel.send(Begun())
    return worker.run()


def name_process(name: str) -> None:
    """What `ps` and `top` show of this process: at most 15 bytes (proc(5))."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _schedule(settings: WorkerSettings) -> None:
    """Stay on the core of the settings, and let no thread of ours interrupt the one that answers."""
    if settings.core is not None:
        os.sched_setaffinity(0, {settings.core})
    # Whoever builds a snapshot lets a call that has come meanwhile go first, and soon.
    sys.setswitchinterval(SWITCH_S)
    interrupt_nobody()


class _Worker:
    """The parts of a worker, and what each message does to them."""

    def __init__(self, settings: WorkerSettings, channel: Channel) -> None:
        self._channel = channel
        self._metrics = metrics = WorkerMetrics(Path(settings.metrics_directory), settings.slot)
        unknown_keys = UnknownKeys(metrics.unknown_key, lambda issuer: channel.offer(UnknownKey(issuer)))
        opaque = opaque_tokens(settings.identity, settings.hash_key)
        proofs = settings.identity.dpop
        pressure = Pressure()
        self._snapshots = Snapshots(
            settings,
            unknown_keys,
            opaque,
            _replays(settings, metrics),
            lambda revision: CandidateWatch(revision, metrics.candidate),
            lambda: pressure.on,
        )
        ring = RingProducer(Path(settings.ring))
        recorder = Recorder(ring, settings.slot, Redaction(settings.secrets, settings.hash_key))

        def record(decision: Decision, latency_us: int) -> None:
            recorder(decision, latency_us)
            metrics.decided(decision, latency_us)

        self._service = CheckService(
            record,
            None if opaque is None else _introspector(opaque, metrics),
            () if proofs is None else proofs.algorithms,
            settings.metadata,
            failures_are_errors=settings.failures_are_errors,
        )
        self.server = CheckServer(
            settings, _handler(self._service, settings), Queued(CHECK, self._service.shed, metrics.given_up, pressure)
        )

    def run(self) -> int:
        """Take messages until the end."""
        while (message := self._channel.receive()) is not None:
            if isinstance(message, Drain):
                self.server.drain(message.grace_s)
                return 0
            if isinstance(message, Prepare):
                # Beside the messages: it may take long, and signs of life must not wait.
                Thread(target=self._follow, args=(message,), name="prepare").start()
                continue
            try:
                self._follow(message)
            except CannotListen as error:
                self._channel.send(Broken(str(error)))
                return 1
        self.server.drain(ORPHAN_GRACE_S)
        return 0

    def _follow(self, message: ToWorker) -> None:
        """Do what a message says. Raises CannotListen."""
        try:
            self._take(message)
        except CannotListen:
            raise
        except Exception as error:  # noqa: BLE001  # the border: a message that cannot be followed changes nothing
            structlog.get_logger().error("worker_message_failed", message=type(message).__name__, exc_info=True)
            if isinstance(message, Prepare | Activate):
                self._channel.send(Failed(message.generation, f"{type(error).__name__}: {error}"))

    def _take(self, message: ToWorker) -> None:
        match message:
            case Ping(number):
                caches = self._snapshots.caches
                self._metrics.caches_seen(_state(caches.tokens), _state(caches.certificates))
                self._channel.send(Pong(number))
            case Listen():
                self._channel.send(Listening(self.server.start()))
            case Prepare(generation):
                self._snapshots.prepare(message)
                self._channel.send(Prepared(generation))
            case Activate(generation):
                before = indexes_of(self._service.snapshot)
                self._service.snapshot = self._snapshots.activate(generation)
                self.server.set_serving()
                # What a snapshot holds lives long: later collections need not walk it.
                gc.freeze()
                self._channel.send(Activated(generation))
                now = indexes_of(self._service.snapshot)
                left: list[object] = [index for index in before if index not in now]
                del before
                if left:
                    # Beside the messages: while many calls come it takes long, and signs of life must not wait.
                    Thread(target=_let_go, args=(left, self._snapshots.shared), name="let-go", daemon=True).start()


def _let_go(roots: list[object], shared: Callable[[], list[object]]) -> None:
    with giving_way() as step:
        # Not before: of what leaves from here on, somebody who waits for his turn holds the roots.
        free_in_steps(roots, step, shared())


def _introspector(tokens: OpaqueTokens, metrics: WorkerMetrics) -> Introspect:
    # What asks an issuer is loaded by workers that have one to ask.
    from authz_server.worker.introspection import Introspector

    return Introspector(tokens, metrics)


def _replays(settings: WorkerSettings, metrics: WorkerMetrics) -> CountedReplayTable | None:
    return None if settings.replays is None else CountedReplayTable(ReplayTable(Path(settings.replays)), metrics)


def _state(cache: BoundedCache[Any, Any]) -> CacheState:
    return CacheState(len(cache), cache.hits, cache.misses)


def _handler(service: CheckService, settings: WorkerSettings) -> Handler:
    if settings.tls is None or settings.tls.client_ca is None:
        return service.check
    peers = Peers(settings.tls.clients)

    def check(payload: bytes, call: Call) -> bytes | None:
        try:
            named = peers.may_call(_peer_certificate(call))
        except BaseException as error:  # noqa: BLE001  # the border: an RPC error is no denial to every proxy
            structlog.get_logger().error("peer_check_failed", error=type(error).__name__)
            named = False
        if not named:
            return service.refuse(Reason.WORKLOAD_REFUSED, "the caller of Check is none of `tls.clients`")
        return service.check(payload, call)

    return check


def _peer_certificate(call: Call) -> bytes | None:
    return next(iter(call.auth_context().get("x509_pem_cert", ())), None)
