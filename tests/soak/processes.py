"""What the kernel tells of the server's processes."""

import os
from pathlib import Path

from msgspec import Struct

_WORKER = b"authz_server.worker"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Usage(Struct, frozen=True):
    """What a process holds."""

    age: float
    """Seconds since its start."""
    memory: int
    """Resident, bytes."""
    descriptors: int


def workers_of(control: int) -> list[int]:
    """The process ids of the workers of a control process, the spare one with them; none where that has ended."""
    found: set[int] = set()
    for children in Path(f"/proc/{control}/task").glob("*/children"):
        try:
            found |= {int(pid) for pid in children.read_text().split()}
        except OSError:
            continue
    return sorted(pid for pid in found if is_worker(pid))


def is_worker(pid: int) -> bool:
    """Whether this process is a worker of some server."""
    try:
        return _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def usage_of(pid: int) -> Usage | None:
    """None where there is no such process."""
    try:
        started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / _TICKS
        up = float(Path("/proc/uptime").read_text().split()[0])
        memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        return Usage(up - started, memory, len(os.listdir(f"/proc/{pid}/fd")))
    except OSError:
        return None
