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
from benchmarks.workloads import Policies

_START_S = 120.0


class Server(Struct, frozen=True):
    """A server that is ready."""

    port: int
    """On 127.0.0.1."""
    pid: int
    """The process that answers."""
    control_pid: int | None = None
    """The process that writes the audit, where it is another one."""
    audit: Path | None = None
    """Its records."""


@contextmanager
def constant_server(directory: Path) -> Iterator[Server]:
    """A gRPC server that answers a constant. Raises CannotMeasure."""
    directory.mkdir()
    output = directory / "port"
    with child([sys.executable, "-m", "benchmarks.constant_server"], output) as process:
        _wait(process, lambda: output.read_text().endswith("\n"), output)
        yield Server(port=int(output.read_text()), pid=process.pid)


@contextmanager
def authz_server(
    directory: Path, policies: Policies, identities: Identities, code: Path | None = None
) -> Iterator[Server]:
    """`authz serve` with one worker, its audit on; `code` is where it is that of another revision.

    Raises CannotMeasure.
    """
    write_policies(directory / "policies", policies.rules, conditions=policies.conditions)
    (directory / "bundle.pem").write_text(identities.bundle_pem)
    (directory / "jwks.json").write_text(identities.jwks)
    config, log = directory / "authz.yaml", directory / "log"
    config.write_text(yaml.safe_dump(_settings()))
    command = [sys.executable, "-m", "authz_server", "serve", "--config", str(config)]
    environment = None if code is None else {**os.environ, "PYTHONPATH": str(code)}
    with child(command, log, environment=environment) as process:
        endpoints = directory / "run" / "endpoints.yaml"
        _wait(process, endpoints.exists, log)
        port = _port(endpoints)
        _wait(process, lambda: _is_serving(port), log)
        [worker] = children(process.pid)
        yield Server(
            port=port,
            pid=worker,
            control_pid=process.pid,
            audit=directory / "audit" / "decisions.jsonl",
        )


def _settings() -> dict[str, object]:
    return {
        "listen": {"address": "127.0.0.1:0", "transport": os.environ.get("T", "grpcio")},
        "workers": 1,
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


def _port(endpoints: Path) -> int:
    [endpoint] = json.loads(endpoints.read_text())["resources"][0]["endpoints"][0]["lb_endpoints"]
    return int(endpoint["endpoint"]["address"]["socket_address"]["port_value"])


def _is_serving(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        try:
            answer = health.Check(health_pb2.HealthCheckRequest())
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
