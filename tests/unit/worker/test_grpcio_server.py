"""The thread that answers calls."""

import subprocess
import sys

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
