"""How many cores this process may use, and which."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def usable_cores() -> list[int]:
    """The cores that the scheduler gives this process."""
    return sorted(os.sched_getaffinity(0))


def worker_count(cores: Sequence[int], quota: float | None) -> int:
    """One worker for each core, no more than the quota has whole cores, and at least one."""
    return max(1, min(len(cores), len(cores) if quota is None else math.floor(quota)))


def cpu_quota(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The cores' worth of time that the cgroups of this process allow; None without a limit."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return None
    quotas = [quota for line in lines for quota in _quotas(line, root)]
    return min(quotas, default=None)


def _quotas(line: str, root: Path) -> Iterator[float]:
    """The limits of one line of /proc/self/cgroup (cgroups(7)), of the group and of those above it."""
    hierarchy, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    if hierarchy == "0":
        for directory in _upwards(root, path):
            yield from _version_2(directory / "cpu.max")
    elif "cpu" in controllers.split(","):
        for mount in (root / controllers, root / "cpu"):
            for directory in _upwards(mount, path):
                yield from _version_1(directory)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    # In a container the path is often that of the host, and the container's own group is the mount itself.
    relative = Path(path.lstrip("/"))
    for part in (relative, *relative.parents):
        yield mount / part


def _version_2(file: Path) -> Iterator[float]:
    """`cpu.max`: quota and period in microseconds (cgroup-v2, "CPU Interface Files")."""
    try:
        quota, period = file.read_text().split()
        if quota != "max":
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return


def _version_1(directory: Path) -> Iterator[float]:
    try:
        quota = int((directory / "cpu.cfs_quota_us").read_text())
        period = int((directory / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return
    if quota > 0 and period > 0:
        yield quota / period
