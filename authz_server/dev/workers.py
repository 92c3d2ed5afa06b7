"""The worker processes of a running server."""

from contextlib import suppress
from pathlib import Path

from authz_server.worker.messages import WORKER_NAME


def worker_pids(control: int) -> list[int]:
    """The processes of the workers of this control process, by slot; a spare process is none of them."""
    found = {}
    for pid in Path(f"/proc/{control}/task/{control}/children").read_text().split():
        with suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if name.startswith(WORKER_NAME):
                found[int(name.removeprefix(WORKER_NAME))] = int(pid)
    return [found[slot] for slot in sorted(found)]
