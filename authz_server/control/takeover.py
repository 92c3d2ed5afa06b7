"""Takes over from a control process that was killed, whose workers are still finishing their calls."""

import time
from collections.abc import Sequence
from pathlib import Path

from authz_server.audit.ring import RingConsumer
from authz_server.control.addresses import AddressTaken, check_free
from authz_server.control.errors import CannotStart
from authz_server.worker.address import UnixAddress
from authz_server.worker.messages import ORPHAN_GRACE_S, WorkerSettings

PATIENCE_S = ORPHAN_GRACE_S + 2.0
_LOOK_S = 0.1


class PredecessorsLeft(CannotStart):
    """Workers of an earlier control process do not end."""


def take_over(workers: Sequence[WorkerSettings], rings: Sequence[RingConsumer], patience_s: float = PATIENCE_S) -> None:
    """Return when no worker of before is left, and the addresses are free. Blocks.

    Such a worker decides by what it had: perhaps by older policies than those that are reported next. `rings` are
    those of all workers, each of which holds its own. Raises AddressTaken, PredecessorsLeft, OSError.
    """
    for worker in workers:
        if isinstance(worker.address, UnixAddress):
            Path(worker.address.path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    end = time.monotonic() + (patience_s if _are_left(rings) else 0.0)
    while True:
        try:
            if _are_left(rings):
                raise PredecessorsLeft("run_directory: workers of an earlier server still decide; end them")
            check_free([worker.address for worker in workers])
            return
        except (AddressTaken, PredecessorsLeft):
            if time.monotonic() >= end:
                raise
            time.sleep(_LOOK_S)


def _are_left(rings: Sequence[RingConsumer]) -> bool:
    return any(ring.has_producer() for ring in rings)
