"""What a check costs with a candidate that is asked about every one, beside what it costs without."""

from contextlib import ExitStack
from pathlib import Path

from authz_server.telemetry.candidate_counts import candidate_counts
from benchmarks.errors import CannotMeasure
from benchmarks.measurement import Measurement
from benchmarks.measuring import Call, Sample
from benchmarks.payload import check_request, framed
from benchmarks.policies import Policies, path
from benchmarks.processes import pin
from benchmarks.rounds import Bench, measure_patiently
from benchmarks.servers import Server, authz_server
from benchmarks.workloads import TRANSPORTS, Setup, Transport, Workload

_IN_FORCE = Policies(200, users=True, conditions=200)
# As many rules, with other conditions: none is evaluated for both at once.
_CANDIDATE = Policies(200, users=True, conditions=100)
_IN_FLIGHT = 4
"""Few, so that none waits long enough for the candidate to be left out."""
_WARM_UP_SHARE = 2
_ASKED_SHARE = 0.98
"""While calls have to wait, the candidate is not asked: that may happen, but must not make it look cheap."""


def candidate_name(transport: Transport) -> str:
    """The name of what a check costs with a candidate, as a multiple of what it costs without."""
    return f"token, condition, {transport}: CPU of a check with a candidate / without"


def measure_candidate(bench: Bench) -> list[Measurement]:
    """On each transport, a server with a candidate and one without in turn. Raises CannotMeasure."""
    directory = bench.directory / "candidate"
    directory.mkdir()
    found = []
    for transport in TRANSPORTS:
        bench.say(f"a candidate, {transport}")
        with ExitStack() as stack:
            alone = _start(stack, bench, directory / f"{transport}-alone", Setup(_IN_FORCE, transport))
            beside = Setup(_IN_FORCE, transport, candidate=_CANDIDATE)
            both = _start(stack, bench, directory / f"{transport}-candidate", beside)
            found.append(Measurement(candidate_name(transport), "times", _rounds(bench, transport, alone, both)))
    return found


def _start(stack: ExitStack, bench: Bench, directory: Path, setup: Setup) -> Server:
    server = stack.enter_context(authz_server(directory, setup, bench.identities))
    for pid in server.pids:
        pin(pid, [bench.cores.server])
    return server


def _rounds(bench: Bench, transport: Transport, alone: Server, both: Server) -> list[float]:
    """The ratio of CPU of each round, each check of which the candidate was asked about."""
    asked = path(_IN_FORCE.rules - 1, "c7-4711")
    workload = Workload(candidate_name(transport), Setup(_IN_FORCE, transport), asked, _IN_FLIGHT)
    message = check_request(bench.identities, asked, bench.identities.tokens[0]).SerializeToString()
    frame = bench.directory / f"candidate-{transport}.frame"
    frame.write_bytes(framed(message))
    call = Call([message], frame)
    ratios = []
    for number in range(bench.rounds + 1):
        count = bench.calls[32] // (1 if number else _WARM_UP_SHARE)
        samples: dict[bool, Sample] = {}
        for with_candidate in (True, False) if number % 2 else (False, True):
            before = _same(both)
            server = both if with_candidate else alone
            samples[with_candidate] = measure_patiently(bench, server, workload, call, count)
            if with_candidate and _same(both) - before < count * _ASKED_SHARE:
                raise CannotMeasure(f"the candidate was asked about {_same(both) - before} of {count} checks")
        used, base = samples[True].cpu_us, samples[False].cpu_us
        if number and used and base:
            ratios.append(used / base)
    return ratios


def _same(server: Server) -> int:
    """The checks about which a candidate said the same."""
    assert server.directory is not None
    return candidate_counts(server.directory / "run" / "metrics").checks.get(("in_force", "same"), 0)
