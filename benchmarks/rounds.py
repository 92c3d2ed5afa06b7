"""All workloads side by side: every server runs all the time, and they are loaded in turn, round by round."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from benchmarks.cores import Cores
from benchmarks.errors import CannotMeasure, StoodStill
from benchmarks.identities import Identities
from benchmarks.measuring import Call, Sample, measure
from benchmarks.payload import check_request, framed
from benchmarks.processes import pin
from benchmarks.servers import Server, authz_server, constant_server
from benchmarks.workloads import Asked, Workload

Samples = Mapping[str, Sequence[Sample]]
"""Name of a workload -> its rounds, in the order in which they were made."""
_WARM_UP_SHARE = 2
_TRIES = 3


class Bench(Struct, frozen=True):
    """What all measurements need."""

    directory: Path
    """For their files."""
    identities: Identities
    cores: Cores
    h2load: str
    rounds: int
    calls: Mapping[int, int]
    """Of one round, by how many are in flight."""
    say: Callable[[str], None]


def run_rounds(
    bench: Bench, workloads: Sequence[Workload], *, earlier: Path | None = None, other: Server | None = None
) -> Samples:
    """Measure all workloads. Raises CannotMeasure.

    `earlier` is where the code of the revision is that is compared with, `other` somebody else's server.
    The order is turned round after round, so that a machine that gets slower or faster favours nobody.
    """
    samples: dict[str, list[Sample]] = {workload.name: [] for workload in workloads}
    with ExitStack() as stack:
        servers: dict[Asked, Server] = {}
        for number, asked in enumerate(dict.fromkeys(workload.server for workload in workloads)):
            servers[asked] = _start(stack, bench, bench.directory / str(number), asked, earlier, other)
        made = [(workload, _call(bench, number, workload)) for number, workload in enumerate(workloads)]
        for number in range(bench.rounds + 1):
            bench.say("warming up" if number == 0 else f"round {number} of {bench.rounds}")
            for workload, call in made if number % 2 else reversed(made):
                count = bench.calls[workload.in_flight] // (1 if number else _WARM_UP_SHARE)
                sample = measure_patiently(bench, servers[workload.server], workload, call, count)
                if number:
                    samples[workload.name].append(sample)
    return samples


def measure_patiently(bench: Bench, server: Server, workload: Workload, call: Call, count: int) -> Sample:
    """Measure once; where the machine stands still meanwhile, again. Raises CannotMeasure."""
    for _ in range(_TRIES):
        try:
            return measure(bench.h2load, server, workload, call, count)
        except StoodStill as stall:
            bench.say(f"the machine stood still, so this is made again: {stall}")
    raise CannotMeasure(f"{workload.name}: the machine has stood still {_TRIES} times in a row; leave it alone")


def _start(
    stack: ExitStack, bench: Bench, directory: Path, asked: Asked, earlier: Path | None, other: Server | None
) -> Server:
    if asked == "other":
        assert other is not None
        return other
    if asked == "constant":
        server = stack.enter_context(constant_server(directory))
    else:
        code = earlier if asked.earlier else None
        server = stack.enter_context(authz_server(directory, asked, bench.identities, code=code))
    for pid in server.pids:
        pin(pid, [bench.cores.server])
    return server


def _call(bench: Bench, number: int, workload: Workload) -> Call:
    tokens = bench.identities.tokens[: workload.tokens or 1] if workload.token else (None,)
    messages = [check_request(bench.identities, workload.path, token).SerializeToString() for token in tokens]
    frame = bench.directory / f"{number}.frame"
    frame.write_bytes(framed(messages[0]))
    return Call(messages, frame)
