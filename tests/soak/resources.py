"""What the server holds while nothing is done to it: memory, descriptors, processes and files."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from authz_server.dev.workers import worker_pids
from tests.soak.processes import Usage, usage_of
from tests.soak.site import WORKERS, Site

MORE_MEMORY = 32 * 1024 * 1024
"""Bytes by which a process that has lived for a while may grow, caches included."""
MORE_DESCRIPTORS = 12
"""Connections of Envoy, and of a fetch under way."""
MORE_FILES = 4
MOST_REVISIONS = 25
"""What is kept of them by default, and what is being written."""
SHARED_MEMORY = Path("/dev/shm")


class Growth(Struct):
    """A process, when it was first looked at and now."""

    role: str
    first: Usage
    last: Usage


class Resources:
    """All looks so far."""

    def __init__(self, site: Site, settled_s: float) -> None:
        """A process is looked at from `settled_s` after its start on."""
        self._site = site
        self._settled_s = settled_s
        self._growths: dict[int, Growth] = {}
        self._files: int | None = None
        self.looks = 0

    def look(self) -> Iterator[str]:
        """Look at everything; gives what is too much."""
        self.looks += 1
        workers = self._site.workers()
        # Perhaps with the spare one.
        if len(workers) not in (WORKERS, WORKERS + 1):
            yield f"there are {len(workers)} processes of {WORKERS} workers"
        yield from self._look_at_process("control", self._site.server.pid)
        serving = worker_pids(self._site.server.pid)
        for worker in workers:
            yield from self._look_at_process("worker" if worker in serving else "spare process", worker)
        yield from self._look_at_files()

    def summary(self) -> Iterator[str]:
        """What each process that was looked at twice has grown by."""
        for pid, growth in self._growths.items():
            if growth.last is not growth.first:
                yield (
                    f"{growth.role} {pid}: {_mib(growth.first.memory)} MiB and {growth.first.descriptors} descriptors"
                    f" after {growth.first.age:.0f} s, {_mib(growth.last.memory)} MiB and"
                    f" {growth.last.descriptors} after {growth.last.age:.0f} s"
                )

    def _look_at_process(self, role: str, pid: int) -> Iterator[str]:
        usage = usage_of(pid)
        if usage is None or usage.age < self._settled_s:
            return
        growth = self._growths.setdefault(pid, Growth(role, usage, usage))
        if growth.role != role:
            # A spare process has become a worker: from the next look on it is held to what it has then.
            del self._growths[pid]
            return
        growth.last = usage
        if usage.memory - growth.first.memory > MORE_MEMORY:
            yield f"memory of a {role} has grown from {_mib(growth.first.memory)} to {_mib(usage.memory)} MiB"
        if usage.descriptors - growth.first.descriptors > MORE_DESCRIPTORS:
            yield f"descriptors of a {role} have grown from {growth.first.descriptors} to {usage.descriptors}"

    def _look_at_files(self) -> Iterator[str]:
        state = self._site.directory / "state"
        rings = list((state / "rings").glob("*.ring"))
        if len(rings) > WORKERS:
            yield f"{len(rings)} rings of {WORKERS} workers"
        shared = list(SHARED_MEMORY.glob("*authz*")) if SHARED_MEMORY.is_dir() else []
        kept = list((state / "revisions").rglob("*"))
        if len(kept) > MOST_REVISIONS:
            yield f"{len(kept)} files of earlier revisions"
        files = len([*state.rglob("*"), *shared]) - len(kept)
        self._files = self._files or files
        if files > self._files + MORE_FILES:
            yield f"files of the run directory have become {files}, from {self._files}"


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.0f}"
