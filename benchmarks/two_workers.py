"""Two workers that share the load of one, behind one Envoy."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from benchmarks.measurement import Measurement
from benchmarks.processes import cpu_s, pin
from benchmarks.proxies import envoy
from benchmarks.records import take_calls_of_workers
from benchmarks.requests import POLICIES, Requests
from benchmarks.rounds import Bench
from benchmarks.servers import Server, authz_server
from benchmarks.workloads import TRANSPORTS, Setup, Transport

_CONNECTIONS = 16
_LOAD_SHARE = 0.5


class _Proxied(Struct, frozen=True):
    server: Server
    port: int
    """Of the Envoy that asks it."""


class _Sample(Struct, frozen=True):
    cpu_us: float
    """Of all workers, for each call."""
    busier_share: float
    """Of the calls, in percent, that of the worker that has the most."""


def cpu_name(transport: Transport) -> str:
    """The name of what a call costs two workers, as a multiple of what it costs one."""
    return f"the same load, {transport}: CPU of a check by two workers / by one"


def share_name(transport: Transport) -> str:
    """The name of the share of the worker that has more calls than the other."""
    return f"two workers behind one Envoy, {transport}: share of the busier one"


def measure_two_workers(bench: Bench) -> list[Measurement]:
    """On each transport, one worker and two in turn, with half of the load that one worker takes.

    Raises CannotMeasure.
    """
    directory = bench.directory / "workers"
    directory.mkdir()
    found = []
    for transport in TRANSPORTS:
        bench.say(f"two workers, {transport}")
        with ExitStack() as stack:
            one, two = (_start(stack, bench, directory / f"{transport}-{count}", transport, count) for count in (1, 2))
            requests = Requests(bench.h2load, bench.identities.tokens[0], directory / "log")
            ratios, shares = _rounds(bench, requests, one, two)
        found += [
            Measurement(cpu_name(transport), "times", ratios),
            Measurement(share_name(transport), "%", shares),
        ]
    return found


def _start(stack: ExitStack, bench: Bench, directory: Path, transport: Transport, workers: int) -> _Proxied:
    setup = Setup(POLICIES, transport)
    server = authz_server(directory, setup, bench.identities, workers=workers, socket=transport == "lean")
    started = stack.enter_context(server)
    for pid in started.pids:
        pin(pid, [bench.cores.server])
    return _Proxied(started, stack.enter_context(envoy(directory / "envoy", started)))


def _rounds(bench: Bench, requests: Requests, one: _Proxied, two: _Proxied) -> tuple[list[float], list[float]]:
    """The ratios of CPU, and the shares, of all rounds."""
    count = bench.calls[32]
    full = [requests.send(each.port, count, _CONNECTIONS).calls_per_s for each in (one, two)]
    for each in (one, two):
        _take(each, count)
    rate = max(1, round(full[0] * _LOAD_SHARE / _CONNECTIONS))
    ratios, shares = [], []
    for number in range(bench.rounds):
        samples = {}
        for workers in (1, 2) if number % 2 else (2, 1):
            samples[workers] = _sample(requests, one if workers == 1 else two, count, rate)
        ratios.append(samples[2].cpu_us / samples[1].cpu_us)
        shares.append(samples[2].busier_share)
    return ratios, shares


def _sample(requests: Requests, proxied: _Proxied, count: int, rate: int) -> _Sample:
    before = sum(map(cpu_s, proxied.server.pids))
    requests.send(proxied.port, count, _CONNECTIONS, f"--rps={rate}")
    used = sum(map(cpu_s, proxied.server.pids)) - before
    return _Sample(used / count * 1e6, max(_take(proxied, count)) / count * 100)


def _take(proxied: _Proxied, count: int) -> Sequence[int]:
    """How many calls each worker has answered."""
    assert proxied.server.audit is not None
    return list(take_calls_of_workers(proxied.server.audit, count).values())
