"""The servers that are measured, each as a process of its own."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from msgspec import Struct

from authz_server.dev.processes import child
from authz_server.dev.waiting import wait_until
from benchmarks.errors import CannotMeasure
from benchmarks.identities import AUDIENCE, ISSUER, TRUST_DOMAIN, Identities
from benchmarks.policies import write_policies
from benchmarks.processes import children
from benchmarks.workloads import Setup, Transport

LOOPBACK = "127.0.0.1"
_START_S = 120.0


class Server(Struct, frozen=True):
    """A server that is ready."""

    addresses: tuple[str, ...]
    """As grpc writes them: `127.0.0.1:9001` or `unix:/path`; one for each worker."""
    pids: tuple[int, ...]
    """The processes that answer; none where it is not known which they are."""
    control_pid: int | None = None
    """The process that writes the audit, where it is another one."""
    directory: Path | None = None
    """Of a server of ours: its policies, its log and its records."""

    @property
    def audit(self) -> Path | None:
        """Its records, where it writes any."""
        return None if self.directory is None else self.directory / "audit" / "decisions.jsonl"

    @property
    def address(self) -> str:
        """The one address of a server with one worker."""
        [address] = self.addresses
        return address


@contextmanager
def constant_server(directory: Path) -> Iterator[Server]:
    """A gRPC server that answers a constant. Raises CannotMeasure."""
    directory.mkdir()
    output = directory / "port"
    with child([sys.executable, "-m", "benchmarks.constant_server"], output) as process:
        _wait(process, lambda: output.read_text().endswith("\n"), output)
        yield Server((f"{LOOPBACK}:{int(output.read_text())}",), (process.pid,))


@contextmanager
def authz_server(
    directory: Path,
    setup: Setup,
    identities: Identities,
    *,
    workers: int = 1,
    socket: bool = False,
    code: Path | None = None,
) -> Iterator[Server]:
    """`authz serve`, its audit on, on loopback or on Unix sockets. Raises CannotMeasure.

    `code` is where that of another revision is.
    """
    write_policies(directory / "policies", setup.policies)
    (directory / "bundle.pem").write_text(identities.bundle_pem)
    (directory / "jwks.json").write_text(identities.jwks)
    config, log = directory / "authz.yaml", directory / "log"
    settings = _settings(setup.transport, workers, socket)
    if setup.candidate is not None:
        write_policies(directory / "candidate", setup.candidate)
        settings["candidate"] = {"directory": "candidate"}
    config.write_text(yaml.safe_dump(settings))
    # -P: or else the code in this directory would come before that of the revision.
    command = [sys.executable, "-P", "-m", "authz_server", "serve", "--config", str(config)]
    environment = None if code is None else {**os.environ, "PYTHONPATH": str(code)}
    with child(command, log, environment=environment) as process:
        endpoints = directory / "run" / "endpoints.yaml"
        _wait(process, lambda: endpoints.exists() and len(_addresses(endpoints)) == workers, log)
        addresses = _addresses(endpoints)
        _wait(process, lambda: all(map(is_serving, addresses)), log)
        if setup.candidate is not None:
            _wait(process, lambda: '"candidate_loaded"' in log.read_text(), log)
        yield Server(
            addresses,
            pids=tuple(children(process.pid)),
            control_pid=process.pid,
            directory=directory,
        )


def _settings(transport: Transport, workers: int, socket: bool) -> dict[str, object]:
    listen = {"address": "unix:check-{worker}.sock" if socket else f"{LOOPBACK}:0"}
    # Revisions from before there were two transports do not know the word.
    if socket or transport != "grpcio":
        listen["transport"] = transport
    return {
        "listen": listen,
        "workers": workers,
        "admin": {"listen": "unix:admin.sock"},
        "workloads": {"trust_domains": {TRUST_DOMAIN: {"bundle": "bundle.pem"}}},
        "issuers": {"corp": {"issuer": ISSUER, "audiences": [AUDIENCE], "keys": {"file": "jwks.json"}}},
        "identity_headers": ["x-user", "x-workload"],
        "policies": {"rescan": "1h"},
        "log": {"format": "json"},
    }


def _wait(process: "Popen[bytes]", ready: Callable[[], bool], log: Path) -> None:
    def ready_or_gone() -> bool:
        return process.poll() is not None or ready()

    try:
        wait_until(ready_or_gone, _START_S, "a server to be ready")
    except TimeoutError as error:
        raise CannotMeasure(f"{error}; it said:\n{log.read_text()}") from None
    if process.poll() is not None:
        raise CannotMeasure(f"a server has ended instead of being ready; it said:\n{log.read_text()}")


def _addresses(endpoints: Path) -> tuple[str, ...]:
    found = json.loads(endpoints.read_text())["resources"][0]["endpoints"][0]["lb_endpoints"]
    return tuple(_text(endpoint["endpoint"]["address"]) for endpoint in found)


def _text(address: dict[str, dict[str, object]]) -> str:
    if "pipe" in address:
        return f"unix:{address['pipe']['path']}"
    tcp = address["socket_address"]
    return f"{tcp['address']}:{tcp['port_value']}"


def is_serving(address: str) -> bool:
    """Whether the worker there decides."""
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        try:
            answer = health.Check(health_pb2.HealthCheckRequest())
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
