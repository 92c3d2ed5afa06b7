"""A whole server whose audit file is on a disk that fills up, is full for long, and has room again."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from authz_server.dev.waiting import wait_until
from authz_server.errors import Reason
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.json_lines import read_json_lines
from tests.unit.control.fleet import CHECK, request
from tests.unit.control.server_process import PATIENCE_S, Served

DISK_BYTES = 64 << 20
# A mount namespace of its own: the disk is there for the server alone, and gone with it.
ON_A_SMALL_DISK = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && exec "$@"'
LONG = "x" * 4000
"""Records of more than 4 KB fill spool and ring sooner."""
DECISIONS = ("allow", "deny")
_BLOCK = b"x" * (1 << 20)


@pytest.fixture
def within(tmp_path: Path) -> list[str]:
    """The command that gives the server a small disk for its audit file."""
    unshare, shell = shutil.which("unshare"), shutil.which("sh")
    disk = tmp_path / "audit"
    disk.mkdir()
    command = [str(unshare), "--map-root-user", "--mount", str(shell), "-c", ON_A_SMALL_DISK, str(disk)]
    if unshare is None or shell is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("only the superuser may mount here")
    return command


class Disk:
    """The small disk as the server sees it."""

    def __init__(self, served: Served, directory: Path) -> None:
        assert served.process is not None
        self._directory = Path(f"/proc/{served.process.pid}/root{directory}")

    def fill(self) -> None:
        """Leave no room at all."""
        with (self._directory / "filler").open("ab", buffering=0) as filler:
            for block in (_BLOCK, b"x"):
                try:
                    while filler.write(block):
                        continue
                except OSError:
                    continue

    def empty(self) -> None:
        """Make room."""
        os.unlink(self._directory / "filler")

    def records(self) -> list[dict[str, Any]]:
        """What is in the audit file."""
        return read_json_lines(self._directory / "decisions.jsonl")


class Client:
    """Asks, and remembers id and reason of each decision."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
        self.seen: list[tuple[str, str]] = []

    def ask(self, method: str) -> str:
        """The reason of a decision: GET is allowed, all else is not."""
        check = request(method)
        check.attributes.request.http.path = f"/orders/{LONG}"
        metadata = CheckResponse.FromString(self._call(check.SerializeToString(), timeout=PATIENCE_S)).dynamic_metadata
        self.seen.append((str(metadata["decision_id"]), str(metadata["reason"])))
        return self.seen[-1][1]

    def ids(self, *reasons: str) -> list[str]:
        """The decisions with these reasons, in order."""
        return [id for id, reason in self.seen if reason in reasons]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """A directory with a configuration: one worker, and a spool on another disk."""
    served = Served(tmp_path)
    served.prepare(workers=1, audit={"spool": {"path": "decisions.spool", "size": "4MB"}})
    return served


@pytest.fixture
def client(served: Served, within: list[str]) -> Iterator[Client]:
    """The only client of the running server."""
    with served.running(within=within):
        [address] = served.endpoints()
        with grpc.insecure_channel(str(address)) as channel:
            yield Client(channel)


def test_all_that_was_allowed_while_the_disk_was_full_is_on_record(
    served: Served, client: Client, tmp_path: Path
) -> None:
    """In order and once; gaps count exactly what else was decided; nothing has to be done but to make room."""
    disk = Disk(served, tmp_path / "audit")
    client.ask("GET")
    wait_until(lambda: len(disk.records()) == 1, PATIENCE_S, "the first record")
    disk.fill()
    while len(client.ids(Reason.AUDIT_UNAVAILABLE)) < 50:
        client.ask("GET")
        if len(client.seen) % 3 == 0:
            client.ask("POST")
    assert_degraded(
        served,
        "the audit file cannot be written: No space left on device",
        "audit records wait in the spool: ",
        "requests are denied because there is no room for their audit records",
    )
    disk.empty()
    wait_until(lambda: client.ask("GET") == Reason.ALLOWED, PATIENCE_S, "requests to be allowed again")
    wait_until(lambda: disk.records()[-1]["decision_id"] == client.seen[-1][0], PATIENCE_S, "the last record")
    records = disk.records()
    recorded = {decision: [r["decision_id"] for r in records if r["decision"] == decision] for decision in DECISIONS}
    assert recorded["allow"] == client.ids(Reason.ALLOWED)
    denied = client.ids(Reason.AUDIT_UNAVAILABLE, Reason.NO_RULE_ALLOWS)
    assert [id for id in denied if id in set(recorded["deny"])] == recorded["deny"]
    lost = sum(record["dropped"] for record in records if record["type"] == "gap")
    assert lost == len(denied) - len(recorded["deny"]) > 0
    assert client.ids(Reason.INTERNAL_ERROR) == []
    for event in ("audit_write_failed", "audit_write_recovered", "audit_spool_full", "audit_requests_denied"):
        assert len(served.events(event)) == 1


def assert_degraded(served: Served, *problems: str) -> None:
    """Readiness comes to tell of these, each at the beginning of a line, and the server stays ready."""

    def told() -> bool:
        state = served.readiness()
        assert state["status"] == "degraded"
        return all(any(said.startswith(problem) for said in state["degraded"]) for problem in problems)

    wait_until(told, PATIENCE_S, "readiness to tell of it")
