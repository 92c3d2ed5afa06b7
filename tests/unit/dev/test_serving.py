"""The small servers of the demo, and the children that it starts, end when they are told to."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from authz_server.dev.processes import child
from authz_server.dev.sample_service import sample_service
from authz_server.dev.serving import serving
from authz_server.dev.waiting import wait_until

SLEEPER = [sys.executable, "-c", "import sys, time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]
PARENT = """\
import sys, time
from pathlib import Path
from authz_server.dev.processes import child
with child(sys.argv[2:], Path(sys.argv[1])) as process:
    print(process.pid, flush=True)
    time.sleep(600)
"""


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_sample_service_says_what_it_saw() -> None:
    """Its name, the request as it was sent, and the identity headers, no others."""
    with serving(sample_service("orders")) as port:
        headers = {"x-user": "ann", "x-other": "1"}
        answer = httpx2.post(f"http://127.0.0.1:{port}/a%20b?c=d", headers=headers, trust_env=False)
    assert answer.json() == {
        "service": "orders",
        "method": "POST",
        "path": "/a%20b",
        "query": "c=d",
        "identity": {"x-user": ["ann"]},
    }


def test_a_port_is_free_again_after_the_block() -> None:
    """Nothing listens any more."""
    with serving(sample_service("orders")) as port:
        pass
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_a_port_in_use_is_an_error() -> None:
    """The caller learns which port it was from the call."""
    with (
        serving(sample_service("orders")) as port,
        pytest.raises(OSError, match="in use"),
        serving(sample_service("web"), port),
    ):
        pytest.fail("two servers on one port")


@pytest.mark.parametrize("program", [SLEEPER, STUBBORN], ids=["obedient", "stubborn"])
def test_a_child_ends_with_the_block(program: list[str], tmp_path: Path) -> None:
    """One that ignores SIGTERM is killed after a while."""
    log = tmp_path / "log"
    with child(program, log, patience_s=0.5) as process:
        wait_until(lambda: "up" in log.read_text(), 10, "the child to be up")
    assert process.returncode is not None


def test_a_child_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    """The kernel ends the child of a parent that was killed."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", PARENT, str(log), *SLEEPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: log.exists() and "up" in log.read_text(), 10, "the child to be up")
        parent.kill()
    wait_until(lambda: not is_running(pid), 10, "the child to end")


def test_a_child_does_not_get_the_terminals_signals(tmp_path: Path) -> None:
    """It is in a session of its own, so that Ctrl-C ends the demo in order."""
    with child(SLEEPER, tmp_path / "log") as process:
        assert os.getsid(process.pid) == process.pid


def test_waiting_says_what_it_waited_for() -> None:
    """A condition that never holds is named."""
    with pytest.raises(TimeoutError, match=r"waited 0\.05 s for the moon"):
        wait_until(lambda: False, 0.05, "the moon")
