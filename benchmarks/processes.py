"""What the kernel knows of a process (proc(5)), and which cores it may use."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from authz_server.dev.workers import worker_pids

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_START_TIME = 19
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# The clock that clock_getcpuclockid(3) names for a process: all its threads, those that have ended too.
_CPU_CLOCK = 2
_LAST = 19


def cpu_s(pid: int) -> float:
    """Seconds of CPU that all threads of a process have used, in the kernel too; in steps of nanoseconds."""
    return time.clock_gettime(~pid << 3 | _CPU_CLOCK)


def age_s(pid: int) -> float:
    """Seconds since a process was started, in steps of 10 ms."""
    # Of the fields after the program's name, which may hold anything, a closing parenthesis included.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START_TIME]) / _TICKS_A_SECOND


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM, what it shares with others included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def children(pid: int) -> list[int]:
    """The processes that the main thread of a process has started, but for spare ones that wait to be workers."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return worker_pids(pid) or [int(child) for child in found]


def give_way(pid: int) -> None:
    """Let all threads of a process, and those that they will start, run when the others of a core do not."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), _LAST)


def pin(pid: int, cores: Iterable[int]) -> None:
    """Let all threads of a process, and those that they will start, run on these cores only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)
