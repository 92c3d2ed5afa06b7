"""All workloads side by side: every server runs all the time, and they are loaded in turn, round by round."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from benchmarks.errors import CannotMeasure
from benchmarks.identities import Identities
from benchmarks.load import need_h2load
from benchmarks.measuring import Call, Sample, measure
from benchmarks.payload import check_request, framed
from benchmarks.processes import pin
from benchmarks.servers import Server, authz_server, constant_server
from benchmarks.workloads import Policies, Workload

Samples = Mapping[str, Sequence[Sample]]
"""Name of a workload -> its rounds, in the order in which they were made."""
_WARM_UP_SHARE = 4


class Cores(Struct, frozen=True):
    """Which core answers, and which ones do everything else."""

    server: int
    others: frozenset[int]


def split_cores() -> Cores:
    """Divide the cores that this process may use. Raises CannotMeasure with fewer than two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise CannotMeasure("two cores are needed: one for the server, one for the load")
    return Cores(cores[0], frozenset(cores[1:]))


def run_rounds(
    directory: Path,
    workloads: Sequence[Workload],
    identities: Identities,
    *,
    rounds: int,
    calls: Mapping[int, int],
    say: Callable[[str], None],
    earlier: Path | None = None,
) -> Samples:
    """Measure all workloads so many times; `calls` of one round are by how many are in flight. Raises CannotMeasure.

    `earlier` is where the code of the revision is that is compared with.
    The order is turned round after round, so that a machine that gets slower or faster favours nobody.
    """
    h2load = need_h2load()
    cores = split_cores()
    # What is started from here on inherits it; the servers' own processes are moved away.
    os.sched_setaffinity(0, cores.others)
    samples: dict[str, list[Sample]] = {workload.name: [] for workload in workloads}
    with ExitStack() as stack:
        servers = {
            policies: _start(stack, directory, policies, identities, cores.server, earlier)
            for policies in dict.fromkeys(workload.policies for workload in workloads)
        }
        made = {workload.name: _call(directory, workload, identities) for workload in workloads}
        for number in range(rounds + 1):
            say("warming up" if number == 0 else f"round {number} of {rounds}")
            for workload in workloads if number % 2 else reversed(workloads):
                count = calls[workload.in_flight] // (1 if number else _WARM_UP_SHARE)
                sample = measure(h2load, servers[workload.policies], workload, made[workload.name], count)
                if number:
                    samples[workload.name].append(sample)
    return samples


def _start(
    stack: ExitStack,
    directory: Path,
    policies: Policies | None,
    identities: Identities,
    core: int,
    earlier: Path | None,
) -> Server:
    if policies is None:
        server = stack.enter_context(constant_server(directory / "constant"))
    else:
        name = f"{policies.rules}{'-conditions' * policies.conditions}{'-earlier' * policies.earlier}"
        code = earlier if policies.earlier else None
        server = stack.enter_context(authz_server(directory / name, policies, identities, code))
    pin(server.pid, [core])
    return server


def _call(directory: Path, workload: Workload, identities: Identities) -> Call:
    message = check_request(identities, workload.path).SerializeToString()
    frame = directory / f"{workload.name.replace(' ', '-')}.frame"
    frame.write_bytes(framed(message))
    return Call(message, frame)
