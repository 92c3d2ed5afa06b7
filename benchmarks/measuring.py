"""One round of one workload: load, CPU, and the proof that every answer was the right one."""

import re
from pathlib import Path

import grpc
from msgspec import Struct

from authz_server.dev.waiting import wait_until
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from benchmarks.errors import CannotMeasure
from benchmarks.load import run_load
from benchmarks.payload import CHECK_PATH, framed
from benchmarks.processes import cpu_s, resident_bytes
from benchmarks.servers import Server
from benchmarks.workloads import Workload

_ANSWER_S = 10.0
_AUDIT_S = 60.0
_ASKED = 2
"""Calls beside those of the load: one before and one after it."""
_DROPPED = re.compile(rb'"dropped":(\d+)')


class Sample(Struct, frozen=True):
    """One round of one workload."""

    cpu_us: float
    """Of the process that answers, for each call."""
    control_cpu_us: float | None
    """Of the process that writes the audit, for each call."""
    resident_bytes: int
    """Of the process that answers, after the load."""
    calls_per_s: float
    latency_us: float
    """Mean of what a call takes, as many as are in flight."""
    records_lost: int
    """Records that found the ring full, because the audit could not keep up."""


class Call(Struct, frozen=True):
    """A request in the two forms in which it is sent."""

    message: bytes
    frame: Path
    """A file with the message in a gRPC frame."""


def measure(h2load: str, server: Server, workload: Workload, call: Call, calls: int) -> Sample:
    """Make the calls. Raises CannotMeasure where an answer or a record is not what it should be."""
    length = _right_answer(server, workload, call)
    control_before = None if server.control_pid is None else cpu_s(server.control_pid)
    before = cpu_s(server.pid)
    load = run_load(h2load, server.port, call.frame, calls, workload.in_flight)
    after = cpu_s(server.pid)
    if load.good != calls or load.body_bytes != calls * len(framed(bytes(length))):
        raise CannotMeasure(f"{workload.name}: not all of {calls} answers are like the first: {load}")
    if _right_answer(server, workload, call) != length:
        raise CannotMeasure(f"{workload.name}: the last answer is not like the first")
    lost = 0 if server.audit is None else _take_records(server.audit, workload, calls + _ASKED)
    control_cpu_us = None
    if server.control_pid is not None and control_before is not None:
        control_cpu_us = (cpu_s(server.control_pid) - control_before) / calls * 1e6
    return Sample(
        cpu_us=(after - before) / calls * 1e6,
        control_cpu_us=control_cpu_us,
        resident_bytes=resident_bytes(server.pid),
        calls_per_s=load.calls_per_s,
        latency_us=workload.in_flight / load.calls_per_s * 1e6,
        records_lost=lost,
    )


def _right_answer(server: Server, workload: Workload, call: Call) -> int:
    """Ask once and read the answer; returns its length, which is that of all of them."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK_PATH)
        answer = check(call.message, timeout=_ANSWER_S)
    response = CheckResponse.FromString(answer)
    kind = response.WhichOneof("http_response")
    allowed = response.status.code == 0 and kind == "ok_response"
    if allowed is not workload.allowed or kind is None:
        raise CannotMeasure(f"{workload.name}: the answer is wrong:\n{response}")
    return len(answer)


def _take_records(audit: Path, workload: Workload, calls: int) -> int:
    """Wait for a record of every call, and take the file away; returns how many records were lost."""
    decision = b'"decision":"allow"' if workload.allowed else b'"decision":"deny"'
    found = lost = 0

    def complete() -> bool:
        nonlocal found, lost
        records = audit.read_bytes() if audit.exists() else b""
        found = records.count(decision)
        lost = sum(int(dropped) for dropped in _DROPPED.findall(records))
        return found + lost >= calls

    try:
        wait_until(complete, _AUDIT_S, "the audit")
    except TimeoutError:
        raise CannotMeasure(f"{workload.name}: the audit has {found} of {calls} records") from None
    # The server opens a fresh file, as it does for any program that rotates its audit.
    audit.unlink()
    return lost
