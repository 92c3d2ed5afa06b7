"""The control process: puts the parts together, runs them, and ends them in order."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

import structlog
from msgspec import Struct

from authz_server.audit.collector import Collector
from authz_server.audit.delivery import Delivery
from authz_server.audit.rings import Rings
from authz_server.audit.spool import Spool
from authz_server.audit.writer import AuditWriter
from authz_server.bounds import MIB, Bound
from authz_server.control.addresses import AddressTaken, bound_address, listen_on, socket_directory
from authz_server.control.admin import HttpServer, PublishedKeys, admin_app, probes_app
from authz_server.control.audit import AuditTask
from authz_server.control.candidate import Candidate
from authz_server.control.candidate_flips import CandidateFlips
from authz_server.control.endpoints import EndpointsFile
from authz_server.control.errors import CannotStart
from authz_server.control.fall_back import FallBack, fallen_back_file
from authz_server.control.findings import counted, findings_file
from authz_server.control.keeping import Keeper
from authz_server.control.kept_policies import LAST_GOOD, KeptPolicies
from authz_server.control.listener_certificate import ListenerCertificate
from authz_server.control.lock import DirectoryLock, FileLock, Locked
from authz_server.control.policies import PolicyDirectory, known_names, required_tests
from authz_server.control.publisher import Content, Publisher
from authz_server.control.readiness import Policies, Readiness, Workers, readiness
from authz_server.control.reconfiguration import Reconfiguration
from authz_server.control.reloader import Reloader
from authz_server.control.revisions import candidate_revisions_of, revisions_of
from authz_server.control.settings import Settings
from authz_server.control.settings.candidate import CandidateSettings
from authz_server.control.settings.load import DEFAULT_FILE
from authz_server.control.settings_check import unusable_group, unusable_tls
from authz_server.control.sources.made import fetcher_of
from authz_server.control.supervisor import Supervisor
from authz_server.control.takeover import take_over
from authz_server.control.trust import Trust
from authz_server.control.usage import UsageCounter, usage_file
from authz_server.control.watcher import watch
from authz_server.control.worker_settings import all_worker_settings
from authz_server.documents.instants import instant
from authz_server.documents.problem import Problem
from authz_server.telemetry.candidate_counts import candidate_counts
from authz_server.telemetry.control_metrics import ControlMetrics
from authz_server.worker.address import Address
from authz_server.worker.messages import WorkerSettings

RING_BYTES = 8 * MIB
RING = Bound(
    "records on their way",
    "worker",
    entries=12_000,
    bytes=RING_BYTES,
    holds="Records of decisions, in a mapped file, until they are in the spool.",
    full="What is allowed is denied (`audit_unavailable`), but for `record: best_effort`; the audit shows a `gap`.",
)
SPARE_AFTER_S = 3.0
"""A server that has just started has better things to do with its cores than to start one more process."""
DRAIN_S = 7.0
"""For calls in flight; with what follows the server ends within 10 s."""


class Started(Struct, frozen=True, kw_only=True):
    """What a person wants to know when the server has started."""

    addresses: tuple[Address, ...]
    admin: Address
    endpoints_file: Path
    audit_file: Path
    policies: Path
    revision: str | None
    """Of the policies that decide; None where there are no good ones yet."""
    services: int
    rules: int


def run_server(settings: Settings, file: Path | None, announce: Callable[[Started], None]) -> None:
    """Serve until SIGTERM or SIGINT, and drain; `announce` is called once. Raises CannotStart.

    `file` is where the settings come from, if anywhere.
    """
    with ExitStack() as held:
        server = _Server(settings, file, held)
        asyncio.run(server.run(announce))


class _Server:
    def __init__(self, settings: Settings, file: Path | None, held: ExitStack) -> None:
        """Take what only one server can have. Raises CannotStart."""
        self._settings = settings
        self._file = file
        directory = settings.run_directory
        _check_files(settings)
        _lock(settings, held)
        with _setting("audit.file.path"):
            self._writer = AuditWriter(settings.audit.file.path, settings.audit.file.rotate, settings.audit.file.keep)
            self._written = self._writer.recent()
        held.callback(self._writer.close)
        with _setting("audit.spool"):
            self._spool = Spool(settings.audit.spool_path, settings.audit.spool.size)
        held.callback(self._spool.close)
        with _setting("run_directory"):
            self._metrics = ControlMetrics(directory / "metrics")
            self._rings = Rings(directory / "rings", RING_BYTES)
        held.callback(self._rings.close)
        with _setting("run_directory"):
            self._workers = all_worker_settings(settings, self._rings.create, directory / "metrics")
        with _setting("listen.address"):
            take_over(self._workers, [ring for _, ring in self._rings])
        with _setting("admin.listen"):
            self._admin_socket = held.enter_context(listen_on(settings.admin.listen))
        self._probe_socket = None
        if settings.probes is not None:
            with _setting("probes.listen"):
                self._probe_socket = held.enter_context(listen_on(settings.probes.listen))
        with _setting("run_directory"):
            self._last_good = _last_good(settings)
            self._usage = UsageCounter(usage_file(settings), settings.usage.keep)
            self._fetcher = fetcher_of(settings, self._metrics, self._last_good, lambda: self._reloader.request())
        counts = partial(candidate_counts, directory / "metrics")
        self._fall_back = FallBack(fallen_back_file(settings), counts)
        self._flips = CandidateFlips(findings_file(settings), lambda: counted(counts()))
        self._endpoints = EndpointsFile(settings.listen.endpoints_file)
        self._started = self._draining = False

    async def run(self, announce: Callable[[Started], None]) -> None:
        """Serve until a signal says to stop."""
        self._publisher = Publisher(on_switch=self._follow)
        self._trust = Trust(self._settings, self._metrics, lambda: self._reloader.request())
        directory, last_good = self._settings.policy_directory, self._last_good
        known, judge = known_names(self._settings), required_tests(self._settings)
        read = None if self._fetcher is None else self._fetcher.store.read
        self._policies = PolicyDirectory(directory, known, self._metrics, last_good, judge, read)
        self._keeper = Keeper(last_good, self._metrics, revisions=revisions_of(self._settings))
        kept = candidate_revisions_of(self._settings)
        self._candidate = Candidate(self._settings.candidate, known, judge, self._fall_back, kept, self._metrics)
        self._reloader = Reloader(
            self._policies,
            self._trust,
            self._publisher,
            self._metrics,
            self._settings.policies.rescan,
            keeper=self._keeper,
            candidate=self._candidate,
        )
        self._supervisor = supervisor = Supervisor(
            self._workers,
            self._publisher,
            on_unknown_key=self._trust.ask,
            on_endpoints=self._write_endpoints,
            on_restart=lambda _slot: self._metrics.worker_restarted(),
        )
        self._certificate = ListenerCertificate(self._workers[0].tls)
        self._reconfiguration = Reconfiguration(
            self._file,
            self._settings,
            supervisor,
            self._worker_settings,
            grace_s=DRAIN_S,
            on_candidate=self._follow_candidate,
        )
        stop = self._signals()
        self._audit = audit = self._audit_task()
        auditing = asyncio.create_task(audit.run())
        http = self._http()
        try:
            await _until(stop, self._work(supervisor, announce), auditing)
        finally:
            self._draining = True
            if self._started:
                structlog.get_logger().info("draining")
            await supervisor.drain(DRAIN_S)
            auditing.cancel()
            await asyncio.gather(auditing, return_exceptions=True)
            await audit.finish()
            await asyncio.to_thread(self._usage.save, ended=True)
            await asyncio.to_thread(self._flips.save)
            for server in http:
                await server.stop()
            if self._started:
                structlog.get_logger().info("stopped")

    def _audit_task(self) -> AuditTask:
        collector = Collector(self._rings, self._spool, self._written)
        observers = [self._usage.observe, self._flips.observe]
        delivery = Delivery(self._spool, self._writer, self._written, observers=observers)
        return AuditTask(collector, delivery, self._spool, self._metrics)

    async def _work(self, supervisor: Supervisor, announce: Callable[[Started], None]) -> None:
        # Neither needs the other, and reading many policies takes longer.
        reading = asyncio.create_task(self._read_ahead())
        await supervisor.start()
        self._started = True
        # Before anything is announced, so that it can be told what was loaded.
        await reading
        await self._reloader.step()
        self._announce(self._start_of(supervisor), announce)
        async with asyncio.TaskGroup() as group:
            group.create_task(_have_spare(supervisor))
            group.create_task(self._reloader.run())
            group.create_task(self._trust.run())
            group.create_task(self._certificate.run(self._settings.policies.rescan))
            group.create_task(self._reconfiguration.run())
            group.create_task(self._usage.run())
            group.create_task(self._candidate.run(self._reloader.request))
            group.create_task(self._flips.run())
            files = [file.path for file in self._trust.files()]
            group.create_task(watch(self._settings.policy_directory, files, self._reloader.request))
            if self._fetcher is not None:
                group.create_task(self._fetcher.run())

    async def _read_ahead(self) -> None:
        if self._fetcher is not None:
            await self._fetcher.first()
        await self._reloader.read_ahead()

    def _signals(self) -> asyncio.Event:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        return stop

    def _reload(self) -> None:
        structlog.get_logger().info("reload_requested")
        self._reloader.reload()
        if self._fetcher is not None:
            self._fetcher.request()
        self._reconfiguration.request()
        if self._started:
            # Whoever has removed it gets it back.
            self._write_endpoints(self._supervisor.addresses, again=True)

    def _follow(self, content: Content) -> None:
        """Workers are about to switch to this, so whoever counts decisions has to know it."""
        self._usage.take_up(content.plan, None if content.candidate is None else content.candidate.plan)
        self._flips.follow(content)

    def _follow_candidate(self, settings: CandidateSettings | None) -> None:
        self._candidate.follow(settings)
        self._reloader.request()

    def _worker_settings(self, settings: Settings) -> list[WorkerSettings]:
        workers = all_worker_settings(settings, self._rings.create, settings.run_directory / "metrics")
        self._certificate.follow(workers[0].tls)
        return workers

    def _http(self) -> list[HttpServer]:
        token = self._settings.upstream_token
        keys = None if token is None else PublishedKeys(self._trust.jwks, token.keys_max_age)
        servers = [HttpServer(admin_app(self._readiness, self._render_metrics, keys), self._admin_socket)]
        if self._probe_socket is not None:
            servers.append(HttpServer(probes_app(self._readiness), self._probe_socket))
        return servers

    def _write_endpoints(self, addresses: dict[int, Address], *, again: bool = False) -> None:
        try:
            self._endpoints.write(addresses, again=again)
        except OSError as error:
            structlog.get_logger().error("endpoints_not_written", problem=str(error))

    def _render_metrics(self) -> bytes:
        serving = len(self._publisher.serving)
        failing = len(self._supervisor.problems())
        self._metrics.workers(serving=serving, starting=len(self._workers) - serving, failing=failing)
        self._metrics.configuration_problems(self._reconfiguration.refused)
        return self._metrics.render()

    def _readiness(self) -> Readiness:
        parts = (self._trust, self._supervisor, self._certificate, self._reconfiguration, self._candidate)
        bad = [problem for part in parts for problem in part.problems()]
        if self._reloader.activation_problem is not None:
            bad.append(f"the newest policies or keys could not be activated: {self._reloader.activation_problem}")
        if self._keeper.problem is not None:
            bad.append(f"the policies that decide are not kept: {self._keeper.problem}")
        if self._usage.problem is not None:
            bad.append(f"what is used of the policies is not kept: {self._usage.problem}")
        if self._flips.problem is not None:
            bad.append(f"what the candidate decides differently is not kept: {self._flips.problem}")
        bad += self._audit.problems() + ([] if self._fetcher is None else self._fetcher.problems())
        workers = Workers(len(self._publisher.serving), len(self._workers))
        missing = self._trust.missing() | self._certificate.missing()
        return readiness(self._policy_state(), workers, missing, bad, draining=self._draining)

    def _policy_state(self) -> Policies:
        active, problems = self._publisher.active, self._policies.problems
        stale_from = None if active is None else active.stale_from
        return Policies(
            revision=None if active is None else active.plan.revision,
            number=None if active is None else active.plan.number,
            problems=len(problems),
            first_problem=self._in_short(problems[0]) if problems else None,
            stale_from=None if stale_from is None else instant(stale_from),
            source=None if self._fetcher is None else self._fetcher.state(),
        )

    def _in_short(self, problem: Problem) -> str:
        """Where it is, and its code. The directory itself has no lines."""
        file = problem.position.file
        return f"{file if file == str(self._settings.policy_directory) else problem.place}: {problem.code}"

    def _announce(self, started: Started, announce: Callable[[Started], None]) -> None:
        structlog.get_logger().info(
            "serving",
            addresses=[str(address) for address in started.addresses],
            admin=str(started.admin),
            configuration=f"defaults, no {DEFAULT_FILE} here" if self._file is None else str(self._file.absolute()),
            version=version("authz-server"),
        )
        announce(started)

    def _start_of(self, supervisor: Supervisor) -> Started:
        plan = self._publisher.active.plan if self._publisher.active is not None else None
        return Started(
            addresses=tuple(dict.fromkeys(address for _, address in sorted(supervisor.addresses.items()))),
            admin=bound_address(self._admin_socket, self._settings.admin.listen),
            endpoints_file=self._settings.listen.endpoints_file,
            audit_file=self._settings.audit.file.path,
            policies=self._settings.policy_directory,
            revision=plan.revision if plan else None,
            services=len(plan.services) if plan else 0,
            rules=sum(len(service.rules) for service in plan.services) if plan else 0,
        )


async def _have_spare(supervisor: Supervisor) -> None:
    await asyncio.sleep(SPARE_AFTER_S)
    supervisor.have_spare()


async def _until(stop: asyncio.Event, work: Coroutine[None, None, None], beside: "asyncio.Task[None]") -> None:
    """Run the work until `stop` is set, or it fails, or what runs beside it does. Raises what they raise."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping, beside], return_when=asyncio.FIRST_COMPLETED)
        for ended in (working, beside):
            if ended.done():
                await ended
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@contextmanager
def _setting(key: str) -> Iterator[None]:
    """What cannot be had is told with the key of the configuration that asks for it. Raises CannotStart."""
    try:
        yield
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise CannotStart(f"{key}: {place}{error.strerror or error}") from None
    except (AddressTaken, Locked) as error:
        raise CannotStart(f"{key}: {error}") from None


def _last_good(settings: Settings) -> KeptPolicies | None:
    """Where policies are kept; None, and nothing there, where they are not to be. Raises OSError."""
    last_good = KeptPolicies(settings.run_directory / LAST_GOOD, settings.policy_directory)
    if settings.policies.keep_last_good:
        return last_good
    # What is left there would be older than what decides meanwhile.
    last_good.remove()
    return None


def _check_files(settings: Settings) -> None:
    unusable = [*unusable_group(settings), *([] if settings.tls is None else unusable_tls(settings.tls))]
    if unusable:
        raise CannotStart("\nauthz: ".join(map(str, unusable)))


def _lock(settings: Settings, held: ExitStack) -> None:
    directories = {"run_directory": settings.run_directory, "listen.address": socket_directory(settings.listen.address)}
    locked = set()
    for key, directory in directories.items():
        with _setting(key):
            if directory is not None and directory.resolve() not in locked:
                held.enter_context(DirectoryLock(directory.resolve()))
                locked.add(directory.resolve())
    # Where it cannot be written the log says so, and who knows the addresses by other means is served.
    with _setting("listen.endpoints_file"), suppress(OSError):
        held.enter_context(FileLock(settings.listen.endpoints_file.absolute()))
