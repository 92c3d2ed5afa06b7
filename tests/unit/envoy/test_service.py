"""The border to Envoy: whatever happens inside, the answer is an explicit decision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from authz_server.envoy.service import CheckService
from authz_server.errors import OUTCOMES, Reason
from authz_server.model import Decision
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from authz_server.snapshot import Snapshot
from tests.builders import plan_of, snapshot_of

POLICY = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: all, effect: allow, from: anyone}
"""


class Call:
    """A call's context with a deadline."""

    def __init__(self, remaining_s: float | None = None) -> None:
        self._remaining_s = remaining_s

    def time_remaining(self) -> float | None:
        """Seconds left."""
        return self._remaining_s


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Everybody may do everything."""
    directory: Path = tmp_path_factory.mktemp("policies")
    return snapshot_of(plan_of(directory, orders=POLICY))


def payload(path: str = "/a") -> bytes:
    """A request that the policies allow."""
    check = CheckRequest()
    http = check.attributes.request.http
    http.method, http.path, http.host = "GET", path, "orders.shop.example"
    return check.SerializeToString()


class Records(list[Decision]):
    """Collects what is recorded."""

    def take(self, decision: Decision, latency_us: int) -> None:
        """Keep one decision."""
        assert latency_us >= 0
        self.append(decision)


def service_with(snapshot: Snapshot | None, record: Callable[[Decision, int], None]) -> CheckService:
    """A service in some state."""
    service = CheckService(record)
    service.snapshot = snapshot
    return service


def answered(service: CheckService, message: bytes | None = None, context: Any = None) -> CheckResponse:
    """What the service says."""
    return CheckResponse.FromString(service.check(payload() if message is None else message, context or Call()))


def test_an_allowed_request_is_answered_and_recorded_once(snapshot: Snapshot) -> None:
    """One decision, one record, one answer with the same id."""
    records = Records()
    response = answered(service_with(snapshot, records.take))
    assert response.status.code == 0
    assert [decision.reason for decision in records] == [Reason.ALLOWED]
    assert response.dynamic_metadata["decision_id"] == records[0].id


@pytest.mark.parametrize(
    ("state", "message", "context", "reason"),
    [
        ({"snapshot": None}, None, None, Reason.NOT_READY),
        ({}, None, Call(remaining_s=0.004), Reason.DEADLINE),
        ({}, None, Call(remaining_s=-1.0), Reason.DEADLINE),
        ({}, b"\xff", None, Reason.MALFORMED_REQUEST),
        ({}, b"", None, Reason.BAD_METHOD),
    ],
)
def test_what_cannot_be_decided_is_denied_and_recorded(
    snapshot: Snapshot, state: dict[str, Any], message: bytes | None, context: Call | None, reason: Reason
) -> None:
    """Each state has its own reason, and a record."""
    records = Records()
    service = service_with(state.get("snapshot", snapshot), records.take)
    response = answered(service, message, context)
    assert response.status.code == OUTCOMES[reason].grpc_code != 0
    assert [decision.reason for decision in records] == [reason]


class Panic(BaseException):
    """What a library in Rust raises when it gives up; it is no Exception."""


@pytest.mark.parametrize(
    "error", [KeyError("secret"), MemoryError(), RecursionError(), OSError(28, "disk full"), Panic("secret")]
)
def test_a_failure_inside_denies(snapshot: Snapshot, error: BaseException, capfd: pytest.CaptureFixture[str]) -> None:
    """An allowed request whose record cannot be made is denied, and nothing of the error leaks."""

    def broken(decision: Decision, latency_us: int) -> None:
        raise error

    response = answered(service_with(snapshot, broken))
    assert response.status.code == OUTCOMES[Reason.INTERNAL_ERROR].grpc_code
    assert response.denied_response.status.code == 500
    assert "secret" not in response.denied_response.body
    assert "secret" not in "".join(capfd.readouterr())


def test_a_failure_of_the_context_denies(snapshot: Snapshot) -> None:
    """A transport that misbehaves is a failure like any other."""
    records = Records()
    response = answered(service_with(snapshot, records.take), context=object())
    assert response.status.code == OUTCOMES[Reason.INTERNAL_ERROR].grpc_code
    assert [decision.reason for decision in records] == [Reason.INTERNAL_ERROR]


def test_a_call_can_be_refused_unread(snapshot: Snapshot) -> None:
    """A caller that may not ask gets an explicit denial, which is recorded."""
    records = Records()
    service = service_with(snapshot, records.take)
    response = CheckResponse.FromString(service.refuse(Reason.WORKLOAD_REFUSED, "not a client"))
    assert response.status.code == OUTCOMES[Reason.WORKLOAD_REFUSED].grpc_code
    assert [decision.detail for decision in records] == ["not a client"]
