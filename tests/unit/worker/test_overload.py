"""More calls than a worker decides: on each transport each gets an answer, and none of them an RPC error."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import grpc
import pytest
from msgspec import structs

from authz_server.dev.waiting import wait_until
from authz_server.errors import Reason
from authz_server.worker import waiting
from authz_server.worker.address import Address
from authz_server.worker.calls import Call, Queued
from authz_server.worker.messages import TransportName
from authz_server.worker.server import CHECK, CheckServer
from tests.unit.control.fleet import PATIENCE_S
from tests.unit.worker.test_server import SETTINGS

MOST = 5
ASKED = 60
DENIED = b"denied"


class Worker:
    """A server that is held by the first call until it is let go, and what it has done."""

    def __init__(self, transport: TransportName) -> None:
        self.held, self.go = Event(), Event()
        self.decided: list[bytes] = []
        self.denied: list[tuple[Reason, int]] = []
        self.given_up = 0
        queued = Queued(CHECK, self._deny, self._count)
        self.server = CheckServer(structs.replace(SETTINGS, transport=transport), self._check, queued)
        self.address: Address = self.server.start()

    def _check(self, payload: bytes, _call: Call) -> bytes:
        self.decided.append(payload)
        if payload == b"hold":
            self.held.set()
            self.go.wait(PATIENCE_S)
        return payload

    def _deny(self, reason: Reason, calls: int) -> bytes:
        self.denied.append((reason, calls))
        return DENIED

    def _count(self) -> None:
        self.given_up += 1


@pytest.fixture(name="worker", params=["grpcio", "lean"])
def _worker(request: pytest.FixtureRequest) -> Iterator[Worker]:
    made = Worker(request.param)
    yield made
    made.go.set()
    made.server.drain(0)


Ask = Callable[[bytes, float], Any]


@pytest.fixture(name="ask")
def _ask(worker: Worker) -> Iterator[Ask]:
    """Makes a call with a payload and a deadline in seconds, and waits for nothing."""
    with grpc.insecure_channel(str(worker.address)) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
        yield lambda payload, timeout_s: method.future(payload, timeout=timeout_s)


def test_beyond_the_bound_calls_are_denied(worker: Worker, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them explicitly; nobody is left without an answer, and all that are denied are counted."""
    monkeypatch.setattr(waiting, "CALLS", waiting.CALLS._replace(entries=MOST))
    first = ask(b"hold", PATIENCE_S)
    assert worker.held.wait(PATIENCE_S)
    others = [ask(b"%d" % number, PATIENCE_S) for number in range(ASKED)]
    worker.go.set()
    answers = [other.result() for other in others]
    assert first.result() == b"hold"
    denied = answers.count(DENIED)
    assert denied > 0
    assert [number for number, answer in enumerate(answers) if answer not in (DENIED, b"%d" % number)] == []
    assert {reason for reason, _ in worker.denied} == {Reason.OVERLOADED}
    assert sum(calls for _, calls in worker.denied) == denied
    assert len(worker.decided) == 1 + ASKED - denied


def test_within_the_bound_all_are_decided(worker: Worker, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come at once."""
    monkeypatch.setattr(waiting, "LATE_S", PATIENCE_S)
    calls = [ask(b"%d" % number, PATIENCE_S) for number in range(ASKED)]
    assert [call.result() for call in calls] == [b"%d" % number for number in range(ASKED)]
    assert worker.denied == []


def _press(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call that waits is late, and has been for long."""
    monkeypatch.setattr(waiting, "LATE_S", -1.0)
    monkeypatch.setattr(waiting, "PRESSURE_AFTER_S", 0.0)


def test_who_waits_too_long_is_denied(worker: Worker, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after is decided."""
    _press(monkeypatch)
    monkeypatch.setattr(waiting, "LONGEST_WAIT_S", -1.0)
    assert ask(b"late", PATIENCE_S).result() == DENIED
    monkeypatch.setattr(waiting, "LONGEST_WAIT_S", PATIENCE_S)
    assert ask(b"soon", PATIENCE_S).result() == b"soon"
    assert (worker.decided, worker.denied) == ([b"soon"], [(Reason.OVERLOADED, 1)])


def test_a_call_whose_deadline_is_near_is_denied_unread(
    worker: Worker, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under pressure there is no time for what nobody will hear."""
    _press(monkeypatch)
    monkeypatch.setattr(waiting, "MINIMUM_TIME_LEFT_S", 2 * PATIENCE_S)
    assert ask(b"late", PATIENCE_S).result() == DENIED
    assert (worker.decided, worker.denied) == ([], [(Reason.DEADLINE, 1)])


def test_who_gives_up_is_forgotten() -> None:
    """On the lean transport, which hears of it before the call's turn comes; nothing is decided for nobody."""
    worker = Worker("lean")
    with grpc.insecure_channel(str(worker.address)) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
        first = method.future(b"hold", timeout=PATIENCE_S)
        assert worker.held.wait(PATIENCE_S)
        gone = method.future(b"gone", timeout=0.1)
        assert isinstance(gone.exception(), grpc.FutureTimeoutError | grpc.RpcError)
        last = method.future(b"last", timeout=PATIENCE_S)
        worker.go.set()
        assert (first.result(), last.result()) == (b"hold", b"last")
    worker.server.drain(0)
    assert (worker.decided, worker.denied, worker.given_up) == ([b"hold", b"last"], [], 1)


def test_what_waits_when_the_end_has_come_is_denied(worker: Worker, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a proxy that may let requests pass a call that is cancelled is no denial."""
    monkeypatch.setattr(waiting.Waiting, "take", lambda _self, _now: None)
    monkeypatch.setattr(waiting, "LONGEST_WAIT_S", PATIENCE_S)
    asked = [ask(b"%d" % number, PATIENCE_S) for number in range(ASKED)]
    transport: Any = worker.server._transport
    wait_until(lambda: len(transport._waiting) == ASKED, PATIENCE_S, "all calls to wait")
    worker.server.drain(0)
    assert [call.result() for call in asked] == [DENIED] * ASKED
    assert sum(calls for _, calls in worker.denied) == ASKED
