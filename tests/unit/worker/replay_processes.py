"""What the tests of the replay table run as processes of its own, to race and to kill them."""

import fcntl
import os
import signal
import sys
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

from authz_server.worker import replays
from authz_server.worker.replays import ReplayTable

NOW, UNTIL = 1_772_442_000.0, 1_772_442_060.0


def digest_of(name: str) -> bytes:
    """Of a proof with this name."""
    return sha256(name.encode()).digest()[:16]


def race(path: Path, proofs: int) -> None:
    """Use the same proofs as the other processes, in the same order; print what came of each."""
    table = ReplayTable(path)
    os.write(1, b"ready\n")
    sys.stdin.readline()
    print(*[table.claim(digest_of(str(number)), UNTIL, NOW) for number in range(proofs)])  # noqa: T201  # for the test


def hold(path: Path, bucket: int) -> None:
    """Lock a bucket, and stop."""
    descriptor = os.open(path, os.O_RDWR)
    fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, bucket)
    os.write(1, b"locked\n")
    os.kill(os.getpid(), signal.SIGSTOP)


def kill_at_every_opcode(path: Path) -> None:
    """Kill a process before each single opcode of a claim; print what two others then get for the same proof."""
    opcodes = 0
    finished = False
    while not finished:
        name = str(opcodes)
        child = os.fork()
        if child == 0:
            _claim_and_die(path, name, opcodes)
        _, status = os.waitpid(child, 0)
        finished = os.WIFEXITED(status)
        table = ReplayTable(path)
        print(*[table.claim(digest_of(name), UNTIL, NOW) for _ in range(2)])  # noqa: T201  # for the test
        table.close()
        opcodes += 1


def _claim_and_die(path: Path, name: str, at: int) -> None:
    table = ReplayTable(path)
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename != replays.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1
        return trace

    sys.settrace(trace)
    table.claim(digest_of(name), UNTIL, NOW)
    sys.settrace(None)
    os._exit(0)


if __name__ == "__main__":
    command, table_path = sys.argv[1], Path(sys.argv[2])
    if command == "race":
        race(table_path, int(sys.argv[3]))
    elif command == "hold":
        hold(table_path, int(sys.argv[3]))
    else:
        kill_at_every_opcode(table_path)
