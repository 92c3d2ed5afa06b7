"""A real Envoy and a real server with two workers, both issuers, and what can be done to them."""

import mmap
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct

from authz_server.dev.ca import create_ca, load_ca
from authz_server.dev.files import write_file
from authz_server.dev.processes import child
from authz_server.dev.renewal import to_pem_files
from tests.envoy.clients import LOOPBACK, Caller
from tests.envoy.identities import ENVOY_ID, TRUST_DOMAIN
from tests.envoy.stack import Stack, Variant, running_stack
from tests.soak.faults.sitecustomize import FAULT_VARIABLE, HOOKS, HOOKS_VARIABLE
from tests.soak.issuer import AUDIENCE, ISSUERS, Issuers
from tests.soak.processes import workers_of
from tests.soak.requests import WORKLOADS
from tests.soak.revisions import Revisions

FAULTS = Path(__file__).parent / "faults"
WORKERS = 2
PARTNER = "partner.example"
LIFETIME = timedelta(days=20)
"""Of certificates: longer than any step of the clock."""
MAX_BODY = 1024
NAMESPACE = "tier.filter"
TRANSPORTS: Mapping[str, Mapping[str, Any]] = {
    "lean": {"address": "unix:check-{worker}.sock"},
    "grpcio": {"address": f"{LOOPBACK}:0", "transport": "grpcio"},
    "tls": {"address": f"{LOOPBACK}:0"},
}
TLS = {"certificate": "certs/authz.pem", "key": "certs/authz.key", "client_ca": "certs/ca.pem", "clients": [ENVOY_ID]}


class Site:
    """Everything that runs. Made by `running_site`."""

    def __init__(
        self,
        stack: Stack,
        issuers: Issuers,
        revisions: Revisions,
        hooks: mmap.mmap,
        held: ExitStack,
        environment: Mapping[str, str],
    ) -> None:
        self.stack, self.issuers, self.revisions = stack, issuers, revisions
        self._environment = environment
        self.server = stack.server
        self.seen_workers: set[int] = set()
        self._hooks = hooks
        self._held = held
        self._callers = stack.directory
        self._renewals = 0
        self.renew_callers()

    @property
    def directory(self) -> Path:
        """Where everything lies."""
        return self.stack.directory

    def workers(self) -> list[int]:
        """The process ids of the workers, and of the spare process that waits to be one."""
        pids = workers_of(self.server.pid)
        self.seen_workers |= set(pids)
        return pids

    def caller(self, name: str | None) -> Caller:
        """Somebody with the certificate of this name as it is now; None has none."""
        ca, callers = self.directory / "certs" / "ca.pem", self._callers
        return Caller(ca, callers / f"{name}.pem", callers / f"{name}.key") if name else Caller(ca)

    def renew_callers(self) -> None:
        """Give every calling workload a fresh certificate."""
        ca = load_ca(self.directory / "certs")
        self._renewals += 1
        # Key and certificate are read one after the other by whoever connects: never those of two renewals.
        directory = self.directory / "callers" / str(self._renewals)
        for name, spiffe_id in WORKLOADS.items():
            to_pem_files(directory, name)(ca.issue(spiffe_id, lifetime=LIFETIME))
        self._callers = directory

    def set_clock(self, ahead_s: float) -> None:
        """Let the server's clock go ahead by so much."""
        self._hooks[:] = HOOKS.pack(ahead_s, HOOKS.unpack(self._hooks[:])[1])

    def set_disk(self, slower_s: float) -> None:
        """Let each write to the audit file take so much longer."""
        self._hooks[:] = HOOKS.pack(HOOKS.unpack(self._hooks[:])[0], slower_s)

    def fill_disk(self) -> None:
        """Let no file of the control process grow over the size that the audit file has now."""
        size = (self.directory / "decisions.jsonl").stat().st_size
        _limit(self.server.pid, size)

    def empty_disk(self) -> None:
        """Take the limit back, also from workers that were started with it."""
        for pid in (self.server.pid, *self.workers()):
            _limit(pid, resource.RLIM_INFINITY)

    def start(self) -> None:
        """Start another server in the place of one that has ended."""
        command = [sys.executable, "-m", "authz_server", "serve", "--config", str(self.directory / "authz.yaml")]
        environment = {**os.environ, **self._environment}
        log = self.directory / "authz.log"
        self.server = self._held.enter_context(child(command, log, environment=environment))

    def signal(self, number: signal.Signals, pid: int) -> None:
        """Send a signal; nothing happens where the process is gone."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


class Choice(Struct, frozen=True):
    """What a site is like."""

    seed: int
    transport: str
    fault: str | None = None


@contextmanager
def running_site(directory: Path, choice: Choice) -> Iterator[Site]:
    """Start everything, give it when it is ready, and end it."""
    issuers = Issuers()
    write_file(directory / "partner.pem", create_ca(PARTNER).bundle_pem)
    write_file(directory / "hooks", "\0" * HOOKS.size)
    revisions = Revisions(directory, Random(choice.seed))  # noqa: S311 - the same for the same seed
    environment = {"PYTHONPATH": str(FAULTS), HOOKS_VARIABLE: str(directory / "hooks")}
    environment |= {FAULT_VARIABLE: choice.fault} if choice.fault else {}
    with ExitStack() as held:
        port = held.enter_context(issuers.running())
        file = held.enter_context((directory / "hooks").open("r+b"))
        hooks = held.enter_context(mmap.mmap(file.fileno(), HOOKS.size))
        variant = Variant(
            settings=_settings(choice.transport, port),
            mtls_to_check=choice.transport == "tls",
            environment=environment,
            max_body=MAX_BODY,
            metadata=(NAMESPACE,),
        )
        stack = held.enter_context(running_stack(directory, {}, variant))
        yield Site(stack, issuers, revisions, hooks, held, environment)


def _settings(transport: str, issuer_port: int) -> dict[str, Any]:
    issuers = {
        name: {
            "issuer": issuer,
            "audiences": [AUDIENCE],
            "keys": {"url": f"http://{LOOPBACK}:{issuer_port}/{name}/jwks.json"},
            "claims": {"scopes": "scopes"},
            "refresh": "10s",
            "required": True,
        }
        for name, issuer in ISSUERS.items()
    }
    domains = {TRUST_DOMAIN: {"bundle": "certs/ca.pem"}, PARTNER: {"bundle": "partner.pem"}}
    return {
        "listen": {**TRANSPORTS[transport], "endpoints_file": "state/endpoints.yaml"},
        "workers": WORKERS,
        "policies": {"directory": "policies", "rescan": "1s"},
        "workloads": {"trust_domains": domains},
        "issuers": issuers,
        "metadata": {"namespaces": [NAMESPACE]},
        "bodies": {"max": "1KiB"},
        "log": {"format": "json"},
        **({"tls": TLS} if transport == "tls" else {}),
    }


def _limit(pid: int, size: int) -> None:
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    except ProcessLookupError:
        return
