"""More calls than a worker can answer: how many it still answers in time, and how soon all is well again."""

import time

from msgspec import Struct

from benchmarks.caller import TIMEOUT_S, Question
from benchmarks.crowd import Crowd, Outcome, crowd
from benchmarks.errors import CannotMeasure
from benchmarks.measurement import Measurement
from benchmarks.payload import check_request
from benchmarks.percentiles import percentiles
from benchmarks.policies import Policies, path
from benchmarks.processes import pin, resident_bytes
from benchmarks.rounds import Bench
from benchmarks.servers import Server, authz_server
from benchmarks.workloads import QUICK_ROUNDS, Setup, Transport

LOADS: dict[Transport, float] = {"lean": 3.0, "grpcio": 1.2}
"""Calls that come, as a multiple of those that a worker can answer."""

_POLICIES = Policies(200, users=True, conditions=200)
_IN_FLIGHT = 64
_PEAK_S, _QUICK_S, _OVERLOAD_S, _AFTER_S = 5.0, 8.0, 60.0, 5.0
_SMALL_LOAD = 0.5
_AGAIN, _AGAIN_S = 2, 5.0
"""How often, and for how long, there is too much once more, to see how soon all is well again."""
_LEAST_MADE = 0.97


def lost_name(transport: Transport) -> str:
    """The name of what goodput loses: of the calls that can be decided, those that are not decided in time."""
    return f"{_what(transport)}: goodput below its peak"


def p99_name(transport: Transport) -> str:
    """The name of the time that calls take which are decided."""
    return f"{_what(transport)}: p99 of what is decided"


def recovery_name(transport: Transport) -> str:
    """The name of the time after which all is decided again."""
    return f"{_what(transport)}: until all is decided again"


def wrong_name(transport: Transport) -> str:
    """The name of what was allowed against policy."""
    return f"{_what(transport)}: allowed against policy"


def growth_name(transport: Transport) -> str:
    """The name of what the worker's memory grows by."""
    return f"{_what(transport)}: growth of the worker's memory"


def _what(transport: Transport) -> str:
    return f"{LOADS[transport]:g} times the load, {transport}"


def measure_overload(bench: Bench) -> list[Measurement]:
    """On each transport. Raises CannotMeasure."""
    found = []
    seconds = _QUICK_S if bench.rounds == QUICK_ROUNDS else _OVERLOAD_S
    for transport in LOADS:
        directory = bench.directory / f"overload-{transport}"
        with authz_server(directory, Setup(_POLICIES, transport), bench.identities) as server:
            for pid in server.pids:
                pin(pid, [bench.cores.server])
            with crowd(server.address, _questions(bench)) as callers:
                found += _overload(bench, server, callers, transport, seconds)
    return found


def _questions(bench: Bench) -> list[Question]:
    """One that policy allows, and one about a path of another caller."""
    token = bench.identities.tokens[0]
    return [
        Question(check_request(bench.identities, path(number, "c7-4711"), token).SerializeToString(), allowed)
        for number, allowed in ((_POLICIES.rules - 1, True), (0, False))
    ]


class _Memory(Struct):
    """The most that a worker has, in bytes."""

    pid: int
    most: int = 0
    looked: float = 0.0

    def look(self) -> None:
        if time.monotonic() - self.looked > 0.25:
            self.looked = time.monotonic()
            self.most = max(self.most, resident_bytes(self.pid))


def _overload(bench: Bench, server: Server, callers: Crowd, transport: Transport, seconds: float) -> list[Measurement]:
    bench.say(f"overload, {transport}: what it can answer")
    callers.keep_in_flight(_IN_FLIGHT, _PEAK_S / 2)
    peak = callers.keep_in_flight(_IN_FLIGHT, _PEAK_S)
    # Buffers that every load makes are no growth.
    rate = peak.decided_per_s * LOADS[transport]
    callers.make_each_second(rate, 1.0)
    [pid] = server.pids
    memory, before = _Memory(pid), resident_bytes(pid)
    bench.say(f"overload, {transport}: {rate:.0f} calls a second for {seconds:g} s")
    during = callers.make_each_second(rate, seconds, memory.look)
    if during.made < _LEAST_MADE * rate * seconds or during.late_s > TIMEOUT_S:
        raise CannotMeasure(f"of {rate * seconds:.0f} calls {during.made} were made, up to {during.late_s:.3f} s late")
    after = [callers.make_each_second(peak.decided_per_s * _SMALL_LOAD, _AFTER_S)]
    bench.say(f"overload, {transport}: {_told(peak, during, after[0])}")
    for _ in range(_AGAIN):
        callers.make_each_second(rate, _AGAIN_S)
        after.append(callers.make_each_second(peak.decided_per_s * _SMALL_LOAD, _AFTER_S))
    return [
        Measurement(lost_name(transport), "%", [100 - during.decided_per_s / peak.decided_per_s * 100]),
        Measurement(p99_name(transport), "ms", [percentiles(during.latencies_s).p99 * 1e3]),
        Measurement(wrong_name(transport), "calls", [peak.wrong + during.wrong + sum(each.wrong for each in after)]),
        Measurement(f"{_what(transport)}: denied by the worker as failures", "%", [during.shed / during.made * 100]),
        Measurement(f"{_what(transport)}: without an answer in time", "%", [during.given_up / during.made * 100]),
        Measurement(f"{_what(transport)}: held back by the client", "%", [during.held_back / during.made * 100]),
        Measurement(f"{_what(transport)}: RPC errors", "calls", [during.failed + sum(each.failed for each in after)]),
        Measurement(growth_name(transport), "MiB", [(memory.most - before) / 2**20]),
        Measurement(recovery_name(transport), "s", [each.last_bad_s for each in after]),
    ]


def _told(peak: Outcome, during: Outcome, after: Outcome) -> str:
    return "\n  ".join(
        f"{name}: made {each.made}, decided {each.decided}, shed {each.shed}, given up {each.given_up},"
        f" held back {each.held_back}, failed {each.failed}, wrong {each.wrong}, late {each.late_s:.3f} s"
        for name, each in (("peak", peak), ("during", during), ("after", after))
    )
