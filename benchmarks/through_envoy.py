"""What asking a server adds to the time of a request through Envoy."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measurement import Measurement
from benchmarks.percentiles import Percentiles, percentiles
from benchmarks.processes import pin
from benchmarks.proxies import envoy
from benchmarks.requests import POLICIES, Requests
from benchmarks.rounds import Bench
from benchmarks.servers import Server, authz_server, constant_server
from benchmarks.workloads import Setup

ALONE, CONSTANT, GRPCIO, LEAN = "Envoy alone", "constant answer", "grpcio", "lean on a Unix socket"
_CONNECTIONS = (1, 16)
_WARM_UP_SHARE = 2


def adds_name(server: str, connections: int) -> str:
    """The name of what a server adds as a multiple of what the constant answer adds."""
    return f"Envoy, {_at_once(connections)}: p50 added by {server} / by {CONSTANT}"


def measure_through_envoy(bench: Bench) -> list[Measurement]:
    """One Envoy for each server, loaded in turn as the workloads are. Raises CannotMeasure."""
    directory = bench.directory / "envoy"
    directory.mkdir()
    requests = Requests(bench.h2load, bench.identities.tokens[0], directory / "requests.log")
    found: list[Measurement] = []
    with ExitStack() as stack:
        servers = _servers(stack, bench, directory)
        ports = {
            name: stack.enter_context(envoy(directory / f"envoy-{number}", server))
            for number, (name, server) in enumerate(servers.items())
        }
        for connections in _CONNECTIONS:
            bench.say(f"through Envoy, {_at_once(connections)}")
            found += _measurements(_rounds(bench, requests, ports, connections), connections)
    return found


def _servers(stack: ExitStack, bench: Bench, directory: Path) -> Mapping[str, Server | None]:
    servers = {
        CONSTANT: constant_server(directory / "constant"),
        GRPCIO: authz_server(directory / "grpcio", Setup(POLICIES, "grpcio"), bench.identities),
        LEAN: authz_server(directory / "lean", Setup(POLICIES, "lean"), bench.identities, socket=True),
    }
    started = {name: stack.enter_context(server) for name, server in servers.items()}
    for server in started.values():
        for pid in server.pids:
            pin(pid, [bench.cores.server])
    return {ALONE: None, **started}


def _rounds(
    bench: Bench, requests: Requests, ports: Mapping[str, int], connections: int
) -> Mapping[str, Sequence[Percentiles]]:
    samples: dict[str, list[Percentiles]] = {name: [] for name in ports}
    order = list(ports.items())
    count = bench.calls[1] if connections == 1 else bench.calls[32]
    for number in range(bench.rounds + 1):
        for name, port in order if number % 2 else reversed(order):
            load = requests.send(port, count // (1 if number else _WARM_UP_SHARE), connections)
            if number:
                samples[name].append(percentiles(load.latencies_us))
    return samples


def _measurements(samples: Mapping[str, Sequence[Percentiles]], connections: int) -> list[Measurement]:
    found = []
    added: dict[str, list[float]] = {}
    for name, own in samples.items():
        what = f"Envoy, {_at_once(connections)}: {name}"
        found += [
            Measurement(f"{what}, p50", "us", [sample.p50 for sample in own]),
            Measurement(f"{what}, p99", "us", [sample.p99 for sample in own]),
            Measurement(f"{what}, p99.9", "us", [sample.p999 for sample in own]),
        ]
        added[name] = [sample.p50 - alone.p50 for sample, alone in zip(own, samples[ALONE], strict=True)]
        if name != ALONE:
            found.append(Measurement(f"{what}, added to p50", "us", added[name]))
    for name in (GRPCIO, LEAN):
        pairs = zip(added[name], added[CONSTANT], strict=True)
        found.append(Measurement(adds_name(name, connections), "times", [own / base for own, base in pairs]))
    return found


def _at_once(connections: int) -> str:
    return "one at a time" if connections == 1 else f"{connections} connections"
