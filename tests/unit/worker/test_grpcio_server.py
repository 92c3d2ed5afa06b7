"""The thread that answers calls."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from authz_server.worker import grpcio_server
from authz_server.worker.grpcio_server import GrpcioServer
from authz_server.worker.limits import LONGEST_HOLD_S
from tests.clocks import set_clock

BROKEN = """
from authz_server.worker.grpcio_server import GrpcioServer

class BrokenQueue:
    def poll(self, deadline):
        raise ValueError("the library has changed")

server = GrpcioServer([], {})
server._queue_of_the_library, server._queue = server._queue, BrokenQueue()
server._run()
print("still there")
"""


def test_a_worker_whose_thread_cannot_answer_any_more_ends() -> None:
    """It must not look alive: the control process starts another."""
    ended = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "answering_failed" in ended.stdout + ended.stderr
    assert "still there" not in ended.stdout


def test_an_answer_does_not_wait_long_for_others_that_came_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would come too late to be one, which is an RPC error and may pass."""
    now, happened = [0.0], []
    set_clock(monkeypatch, grpcio_server, monotonic=lambda: now[0])

    class Call(grpcio_server._GrpcioCall):
        def __init__(self) -> None:
            return

        def received(self, _event: object) -> bytes:
            happened.append("made")
            now[0] += 0.75 * LONGEST_HOLD_S
            return b""

        def answer(self, _answer: bytes) -> None:
            happened.append("sent")

    tags = iter([Call(), Call(), Call(), None, grpcio_server._END])

    class Queue:
        def poll(self, _deadline: float) -> SimpleNamespace:
            return SimpleNamespace(tag=next(tags, None))

    server = GrpcioServer([], {})
    # The library's own queue must outlive the server.
    queue_of_the_library, server._queue = server._queue, Queue()
    server._calls = 3
    server._answer()
    assert happened == ["made", "made", "sent", "sent", "made", "sent"]
    assert queue_of_the_library is not None
