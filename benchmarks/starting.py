"""A large set of policies: how long a server and a worker take until they serve, and the memory of that worker."""

import os
import signal
import time
from functools import partial

from authz_server.dev.waiting import wait_until
from benchmarks.errors import CannotMeasure
from benchmarks.measurement import Measurement
from benchmarks.policies import Policies
from benchmarks.processes import age_s, children, resident_bytes
from benchmarks.rounds import Bench
from benchmarks.servers import Server, authz_server, is_serving
from benchmarks.workloads import Setup

LARGE = Policies(10_000, users=True, conditions=1_000)
LARGE_NAME = "10,000 rules with 1,000 conditions"
START = f"{LARGE_NAME}: from the start of `authz serve` to serving"
MEMORY = f"{LARGE_NAME}: resident memory of a worker that serves"
_WORKER_BACK = f"{LARGE_NAME}: from the end of a worker to serving of the next"
_TIMES = 3
_REPLACED_S = 60.0


def measure_starting(bench: Bench) -> list[Measurement]:
    """Start it, and end its worker so that it is replaced, several times on all cores. Raises CannotMeasure."""
    starts_of_all, starts, memory = [], [], []
    for number in range(_TIMES):
        bench.say(f"start {number + 1} of {_TIMES}")
        directory = bench.directory / f"start-{number}"
        setup = Setup(LARGE, "lean")
        with bench.cores.shared(), authz_server(directory, setup, bench.identities, socket=True) as server:
            assert server.control_pid is not None
            starts_of_all.append(age_s(server.control_pid))
            began = time.monotonic()
            worker = _replace(server, server.control_pid)
            starts.append(time.monotonic() - began)
            memory.append(resident_bytes(worker) / 2**20)
    return [
        Measurement(START, "s", starts_of_all),
        Measurement(_WORKER_BACK, "s", starts),
        Measurement(MEMORY, "MiB", memory),
    ]


def _replace(server: Server, control: int) -> int:
    """End the worker; returns the one in its place as soon as it serves."""
    [worker] = server.pids
    os.kill(worker, signal.SIGKILL)
    try:
        wait_until(lambda: worker not in children(control), _REPLACED_S, "the worker to end")
        wait_until(partial(is_serving, server.address), _REPLACED_S, "another worker to serve")
    except TimeoutError as error:
        raise CannotMeasure(str(error)) from None
    [successor] = children(control)
    return successor
