"""One round of one workload: load, CPU, and the proof that every answer was the right one."""

from collections.abc import Sequence
from pathlib import Path

import grpc
from msgspec import Struct

from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from benchmarks.errors import CannotMeasure, StoodStill
from benchmarks.load import Load, check_load
from benchmarks.payload import CHECK_PATH, framed
from benchmarks.percentiles import Percentiles, percentiles
from benchmarks.processes import cpu_s, resident_bytes
from benchmarks.records import take_records, take_shed
from benchmarks.rotation import rotating_load
from benchmarks.servers import Server
from benchmarks.workloads import Workload

_ANSWER_S = 10.0
_ASKED = 2
"""Calls beside those of the load: one before and one after it."""


class Sample(Struct, frozen=True):
    """One round of one workload."""

    cpu_us: float | None
    """Of the process that answers, for each call; None where it is not known which one that is."""
    control_cpu_us: float | None
    """Of the process that writes the audit, for each call."""
    resident_bytes: int
    """Of the process that answers, after the load."""
    calls_per_s: float
    latency_us: Percentiles
    """Of a call, as many as are in flight."""
    records_lost: int
    """Records that found the ring full, because the audit could not keep up."""


class Call(Struct, frozen=True):
    """What is asked, in the two forms in which it is sent."""

    messages: Sequence[bytes]
    """They take turns where there are several."""
    frame: Path
    """A file with the first of them in a gRPC frame."""


def measure(h2load: str, server: Server, workload: Workload, call: Call, calls: int) -> Sample:
    """Make the calls. Raises CannotMeasure where an answer or a record is not what it should be, and StoodStill."""
    length = _right_answer(server, workload, call)
    control = () if server.control_pid is None else (server.control_pid,)
    before, control_before = _cpu_s(server.pids), _cpu_s(control)
    load = _load(h2load, server, workload, call, calls)
    used = _cpu_s(server.pids) - before
    # What answers other servers give, and whether all are of one length, is their own affair.
    alike = workload.server == "other" or load.body_bytes == calls * len(framed(bytes(length)))
    if load.good == calls and not alike and server.audit is not None:
        shed = take_shed(server.audit, calls + 1)
        if shed:
            raise StoodStill(f"{workload.name}: {shed} calls have waited too long")
    if load.good != calls or not alike:
        raise CannotMeasure(f"{workload.name}: {load.good} of {calls} answers are good; they have {load.body_bytes} B")
    if _right_answer(server, workload, call) != length:
        raise CannotMeasure(f"{workload.name}: the last answer is not like the first")
    lost = 0 if server.audit is None else take_records(server.audit, workload.allowed, calls + _ASKED)
    return Sample(
        cpu_us=used / calls * 1e6 if server.pids else None,
        control_cpu_us=(_cpu_s(control) - control_before) / calls * 1e6 if control else None,
        resident_bytes=sum(map(resident_bytes, server.pids)),
        calls_per_s=load.calls_per_s,
        latency_us=percentiles(load.latencies_us),
        records_lost=lost,
    )


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(map(cpu_s, pids))


def _load(h2load: str, server: Server, workload: Workload, call: Call, calls: int) -> Load:
    if not workload.tokens:
        return check_load(h2load, server.address, call.frame, calls, workload.in_flight)
    host, _, port = server.address.rpartition(":")
    return rotating_load(host, int(port), call.messages, calls, workload.in_flight)


def _right_answer(server: Server, workload: Workload, call: Call) -> int:
    """Ask once and read the answer; returns its length, which is that of all of them."""
    with grpc.insecure_channel(server.address) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK_PATH)
        try:
            answer = check(call.messages[0], timeout=_ANSWER_S)
        except grpc.RpcError as error:
            raise CannotMeasure(f"{workload.name}: there is no answer: {error}") from None
    if workload.server == "other":
        return len(answer)
    response = CheckResponse.FromString(answer)
    kind = response.WhichOneof("http_response")
    allowed = response.status.code == 0 and kind == "ok_response"
    if allowed is not workload.allowed or kind is None:
        raise CannotMeasure(f"{workload.name}: the answer is wrong:\n{response}")
    return len(answer)
