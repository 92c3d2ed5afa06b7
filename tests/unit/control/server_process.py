"""`authz serve` as a process, for tests."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from authz_server.dev.processes import child
from authz_server.dev.waiting import wait_until
from authz_server.dev.workers import worker_pids
from authz_server.worker.address import Address, TcpAddress, UnixAddress
from tests.builders import write_policies
from tests.unit.control.fleet import ask, request

PATIENCE_S = 30.0
POLICY = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - id: everybody-reads
        effect: allow
        from: anyone
        to: [{methods: [GET]}]
"""
SMALL_SPOOL = {"spool": {"size": "4MB"}}
COMMAND = [sys.executable, "-m", "authz_server", "serve", "--config"]


class Answer(NamedTuple):
    """What came back over HTTP."""

    status: int
    text: str


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("authz", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class Served:
    """A directory with a configuration, and the server that runs there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "authz.yaml"
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def policies(self) -> Path:
        """The policy file."""
        return self.directory / "policies" / "orders.yaml"

    def prepare(self, **settings: object) -> None:
        """Write configuration and policies; settings are sections of the configuration."""
        write_policies(self.policies.parent, {self.policies.name: POLICY})
        defaults: dict[str, object] = {
            "listen": "127.0.0.1:0",
            "workers": 2,
            "admin": {"listen": "unix:admin.sock"},
            "policies": {"rescan": "1h"},
            "audit": SMALL_SPOOL,
        }
        self.config.write_text(yaml.safe_dump(defaults | settings))

    @contextmanager
    def running(self, *, ready: bool = True, within: Sequence[str] = ()) -> Iterator["Served"]:
        """Run the server; `within` is a command that becomes it."""
        with child([*within, *COMMAND, str(self.config)], self.log) as process:
            self.process = process
            state = "ready" if ready else "there"
            wait_until(lambda: self._is_up(ready), PATIENCE_S, f"the server to be {state}: {self.log}")
            yield self

    def get(self, path: str, socket_name: str = "admin.sock") -> "Answer":
        """Ask the admin address."""
        with closing(_UnixConnection(self.directory / socket_name)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())

    def readiness(self) -> dict[str, Any]:
        """What `/readyz` says."""
        return dict(json.loads(self.get("/readyz").text))

    def endpoints(self) -> list[Address]:
        """What the endpoints file names."""
        document = json.loads((self.directory / "run" / "endpoints.yaml").read_text())
        found: list[Address] = []
        for item in document["resources"][0]["endpoints"][0]["lb_endpoints"]:
            address = item["endpoint"]["address"]
            if "pipe" in address:
                found.append(UnixAddress(address["pipe"]["path"]))
            else:
                found.append(TcpAddress(address["socket_address"]["address"], address["socket_address"]["port_value"]))
        return found

    def code(self, method: str = "GET") -> set[int]:
        """What the workers answer."""
        return {ask(address, request(method)).status.code for address in self.endpoints()}

    def decisions(self) -> list[dict[str, Any]]:
        """The lines of the audit file."""
        lines = (self.directory / "audit" / "decisions.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the server has logged under this name."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def workers(self) -> list[int]:
        """The processes of the workers."""
        assert self.process is not None
        return worker_pids(self.process.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the control process."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def exit_code(self) -> int:
        """Wait for its end."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def _is_up(self, ready: bool) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            answer = self.get("/readyz")
        except OSError:
            return False
        return answer.status == 200 or not ready


def run_to_its_end(config: Path, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """A server that is not expected to stay."""
    return subprocess.run(
        [*COMMAND, str(config)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
