"""A reload of many rules while calls are made: what it does to them, and to the memory of the worker."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from msgspec import Struct

from authz_server.dev.waiting import wait_until
from benchmarks.errors import CannotMeasure
from benchmarks.load import Load, check_load
from benchmarks.measurement import Measurement
from benchmarks.payload import check_request, framed
from benchmarks.percentiles import percentiles
from benchmarks.policies import path
from benchmarks.processes import give_way, pin, resident_bytes
from benchmarks.rounds import Bench
from benchmarks.servers import Server, authz_server
from benchmarks.starting import LARGE, LARGE_NAME
from benchmarks.workloads import TRANSPORTS, Setup, Transport

_IN_FLIGHT = 32
_LOAD_SHARE = 0.5
_BEFORE_S, _RELOAD_S = 3.0, 120.0
# One takes half a minute.
_ROUNDS_FOR_ONE = 4
_RELOADED = "policies_reloaded"


class _Sample(Struct, frozen=True):
    seconds: float
    before_us: float
    """The p99 of calls before the reload."""
    during_us: float
    """The p99 of calls that began during it."""
    memory_mib: float
    """The most that the worker has had."""


def slowdown_name(transport: Transport) -> str:
    """The name of the p99 during a reload, as a multiple of what it is before."""
    return f"reload of {LARGE_NAME}, {transport}: p99 during / before"


def memory_name(transport: Transport) -> str:
    """The name of the most memory that the worker has during a reload."""
    return f"reload of {LARGE_NAME}, {transport}: resident memory of the worker"


def measure_reload(bench: Bench) -> list[Measurement]:
    """On each transport, with half of the calls that a worker can answer. Raises CannotMeasure."""
    found = []
    frame = bench.directory / "reload.frame"
    token = bench.identities.tokens[0]
    message = check_request(bench.identities, path(LARGE.rules - 1, "c7-4711"), token)
    frame.write_bytes(framed(message.SerializeToString()))
    for transport in TRANSPORTS:
        with authz_server(bench.directory / f"reload-{transport}", Setup(LARGE, transport), bench.identities) as server:
            _divide(bench, server)
            samples = []
            for number in range(max(1, bench.rounds // _ROUNDS_FOR_ONE)):
                bench.say(f"reload {number + 1}, {transport}")
                samples.append(_reload_under_load(bench, server, frame, number))
        what = f"reload of {LARGE_NAME}, {transport}"
        slowdowns = [sample.during_us / sample.before_us for sample in samples]
        found += [
            Measurement(f"{what}: time", "s", [sample.seconds for sample in samples]),
            Measurement(f"{what}: p99 before", "us", [sample.before_us for sample in samples]),
            Measurement(f"{what}: p99 during", "us", [sample.during_us for sample in samples]),
            Measurement(slowdown_name(transport), "times", slowdowns),
            Measurement(memory_name(transport), "MiB", [sample.memory_mib for sample in samples]),
        ]
    return found


def _divide(bench: Bench, server: Server) -> None:
    for pid in server.pids:
        pin(pid, [bench.cores.server])
    # The client may have only one core, and reading policies there must not keep it from its clock.
    assert server.control_pid is not None
    give_way(server.control_pid)


def _reload_under_load(bench: Bench, server: Server, frame: Path, number: int) -> _Sample:
    full = check_load(bench.h2load, server.address, frame, bench.calls[_IN_FLIGHT], _IN_FLIGHT).calls_per_s
    rate = int(full * _LOAD_SHARE)
    enough = Event()
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(_load_until, enough, bench, server, frame, rate)
        try:
            time.sleep(_BEFORE_S)
            begun = time.time()
            memory = _reload(server, number)
            ended = time.time()
        finally:
            enough.set()
        loads = loading.result()
    calls = [call for load in loads for call in zip(load.begun_s, load.latencies_us, strict=True)]
    return _Sample(
        seconds=ended - begun,
        before_us=percentiles([latency for at, latency in calls if at < begun]).p99,
        during_us=percentiles([latency for at, latency in calls if begun <= at < ended]).p99,
        memory_mib=memory / 2**20,
    )


def _load_until(enough: Event, bench: Bench, server: Server, frame: Path, rate: int) -> list[Load]:
    """One load after the other, each of a second, because nobody knows how long a reload takes."""
    loads = []
    while not enough.is_set():
        loads.append(check_load(bench.h2load, server.address, frame, rate, _IN_FLIGHT, f"--rps={rate}"))
    return loads


def _reload(server: Server, number: int) -> int:
    """Change a rule, and wait until the worker decides by it; returns the most memory of the worker meanwhile."""
    assert server.directory is not None
    assert server.control_pid is not None
    file = server.directory / "policies" / "orders-0.yaml"
    file.write_text(file.read_text().replace(_first_rule(number), _first_rule(number + 1)))
    os.kill(server.control_pid, signal.SIGHUP)
    log = server.directory / "log"
    most = 0

    def reloaded() -> bool:
        nonlocal most
        most = max(most, *map(resident_bytes, server.pids))
        return log.read_text().count(_RELOADED) > number

    try:
        wait_until(reloaded, _RELOAD_S, "a reload")
    except TimeoutError as error:
        raise CannotMeasure(str(error)) from None
    return most


def _first_rule(number: int) -> str:
    return f"id: rule-00000{'-again' * number}\n"
