"""The border to Envoy: whatever happens inside, the answer is an explicit decision."""

import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from authz_server.envoy import service
from authz_server.envoy.service import CheckService, GoOn, Introspect
from authz_server.errors import OUTCOMES, Reason, Refused
from authz_server.identity.introspection import IntrospectionNeeded, opaque_tokens
from authz_server.identity.settings import Introspection, Issuer
from authz_server.model import Decision
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from authz_server.snapshot import Snapshot
from tests.builders import PRINCIPALS_ARE_BELIEVED, Call, plan_of, snapshot_of

POLICY = """\
    kind: service
    name: orders
    hosts: [orders.shop.example]
    rules:
      - {id: all, effect: allow, from: anyone}
"""


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
    answer = service.check(payload() if message is None else message, context or Call())
    assert answer is not None
    return CheckResponse.FromString(answer)


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


def test_a_decision_that_takes_too_long_is_a_denial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request must not hold up all others, nor run into the caller's deadline, which would be an RPC error."""
    policy = POLICY + "      - {id: none, effect: deny, when: \"!request.path.matches('^/a$')\"}\n"
    records = Records()
    late = service_with(snapshot_of(plan_of(tmp_path, orders=policy)), records.take)
    assert answered(late).HasField("ok_response")
    monkeypatch.setattr(service, "LONGEST_DECISION_S", -1.0)
    assert answered(late).denied_response.status.code == OUTCOMES[Reason.DEADLINE].http_status
    assert [record.reason for record in records] == [Reason.ALLOWED, Reason.DEADLINE]


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


@pytest.mark.parametrize("reason", [Reason.OVERLOADED, Reason.DEADLINE])
def test_calls_are_shed_with_one_denial_and_one_record(snapshot: Snapshot, reason: Reason) -> None:
    """It says how many they are, and how long a client should wait."""
    records = Records()
    service = service_with(snapshot, records.take)
    response = CheckResponse.FromString(service.shed(reason, 57))
    assert response.status.code == OUTCOMES[reason].grpc_code
    assert response.denied_response.status.code == 503
    headers = {option.header.key: option.header.value for option in response.denied_response.headers}
    assert headers["retry-after"] == "1"
    [decision] = records
    assert (decision.reason, decision.shed, decision.allowed) == (reason, 57, False)
    assert headers["x-authz-decision-id"] == decision.id


def test_calls_that_are_shed_are_errors_where_failures_are() -> None:
    """As the operator has said, who may let them pass."""
    service = CheckService(lambda _decision, _latency_us: None, failures_are_errors=True)
    response = CheckResponse.FromString(service.shed(Reason.OVERLOADED, 2))
    assert response.WhichOneof("http_response") == "error_response"
    assert response.status.code == OUTCOMES[Reason.OVERLOADED].grpc_code


def test_calls_whose_record_cannot_be_made_are_denied_all_the_same() -> None:
    """Whatever goes wrong with it."""

    def broken(_decision: Decision, _latency_us: int) -> None:
        raise ValueError("the ring is broken")

    response = CheckResponse.FromString(CheckService(broken).shed(Reason.OVERLOADED, 2))
    assert response.status.code == OUTCOMES[Reason.INTERNAL_ERROR].grpc_code
    assert response.WhichOneof("http_response") == "denied_response"


ASKED = Issuer("corp", "https://login.example/", ("shop",), introspection=Introspection("https://x/", "a", "secret"))


class Issuers:
    """What is asked about opaque tokens, and how the requests go on."""

    def __init__(self, directory: Path) -> None:
        settings = structs.replace(PRINCIPALS_ARE_BELIEVED, issuers=(ASKED,))
        tokens = opaque_tokens(settings, b"k" * 32)
        assert tokens is not None
        self.tokens = tokens
        self.snapshot = snapshot_of(plan_of(directory, orders=POLICY), settings, opaque=tokens)
        self.waiting: list[tuple[IntrospectionNeeded, int, float | None, GoOn]] = []

    def ask(self, needed: IntrospectionNeeded, size: int, time_left_s: float | None, go_on: GoOn) -> None:
        """Keep a request waiting."""
        self.waiting.append((needed, size, time_left_s, go_on))


@pytest.fixture
def issuers(tmp_path: Path) -> Issuers:
    """An issuer that is asked, and policies that allow everybody."""
    return Issuers(tmp_path)


def with_token(bearer: str = "opaque") -> bytes:
    """An allowed request with a bearer token."""
    message = CheckRequest.FromString(payload())
    message.attributes.request.http.headers["authorization"] = f"Bearer {bearer}"
    return message.SerializeToString()


def waiting_service(issuers: Issuers, introspect: Introspect | None) -> tuple[CheckService, Records]:
    """A service that has somebody asked about tokens, and its records."""
    records = Records()
    service = CheckService(records.take, introspect)
    service.snapshot = issuers.snapshot
    return service, records


def test_a_request_waits_for_the_word_of_the_issuer(issuers: Issuers) -> None:
    """Nothing is answered or recorded before; then it is decided by the snapshot and the time of that moment."""
    service, records = waiting_service(issuers, issuers.ask)
    call = Call(remaining_s=1.0)
    assert service.check(with_token(), call) is None
    assert (call.answered, records) == (None, [])
    [(needed, size, time_left_s, go_on)] = issuers.waiting
    assert (needed.token, size, time_left_s) == ("opaque", len(with_token()), 1.0)
    now = time.time()
    answer = {"active": True, "sub": "ann", "aud": "shop", "exp": now + 60}
    assert issuers.tokens.take(needed, msgspec.json.encode(answer), now) == "accepted"
    service.snapshot = replace_revision(issuers.snapshot, "later")
    go_on(None)
    assert call.answered is not None
    assert CheckResponse.FromString(call.answered).status.code == 0
    [decision] = records
    assert decision.user is not None
    assert (decision.user.subject, decision.revision) == ("ann", "later")
    assert decision.time >= now


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (Refused(Reason.DEADLINE, "too late"), Reason.DEADLINE),
        (Refused(Reason.OVERLOADED, "too many"), Reason.OVERLOADED),
        # The answer has come, and is not kept.
        (None, Reason.OVERLOADED),
    ],
)
def test_who_waited_in_vain_is_denied(issuers: Issuers, word: Refused | None, reason: Reason) -> None:
    """With an explicit answer, and one record."""
    service, records = waiting_service(issuers, issuers.ask)
    call = Call()
    assert service.check(with_token(), call) is None
    issuers.waiting[0][3](word)
    assert call.answered is not None
    assert CheckResponse.FromString(call.answered).status.code == OUTCOMES[reason].grpc_code
    assert [(decision.reason, decision.host) for decision in records] == [(reason, "orders.shop.example")]


def raising(error: BaseException) -> Introspect:
    """Somebody who takes no request."""

    def ask(_needed: IntrospectionNeeded, _size: int, _time_left_s: float | None, _go_on: GoOn) -> None:
        raise error

    return ask


@pytest.mark.parametrize(
    ("introspect", "reason"),
    [
        (raising(Refused(Reason.OVERLOADED, "too many")), Reason.OVERLOADED),
        (raising(RuntimeError("opaque")), Reason.INTERNAL_ERROR),
        (raising(Panic("opaque")), Reason.INTERNAL_ERROR),
        (None, Reason.ISSUER_UNAVAILABLE),
    ],
)
def test_where_nobody_asks_the_denial_comes_at_once(
    issuers: Issuers, introspect: Introspect | None, reason: Reason, capfd: pytest.CaptureFixture[str]
) -> None:
    """And no token shows."""
    service, records = waiting_service(issuers, introspect)
    response = answered(service, with_token())
    assert response.status.code == OUTCOMES[reason].grpc_code
    assert [decision.reason for decision in records] == [reason]
    assert "opaque" not in "".join(capfd.readouterr())


def replace_revision(snapshot: Snapshot, revision: str) -> Snapshot:
    """The same snapshot with another revision of the policies."""
    policies = copy(snapshot.policies)
    policies.revision = revision
    return structs.replace(snapshot, policies=policies)


def test_what_cannot_be_recorded_is_denied_in_the_form_that_the_client_reads(snapshot: Snapshot) -> None:
    """The denial has its reason and nothing of what allowed, goes out even where it cannot be recorded, and is a denial
    also where failures of ours are errors."""
    records = Records()

    def full(decision: Decision, latency_us: int) -> None:
        if decision.allowed:
            raise Refused(Reason.AUDIT_UNAVAILABLE, "full")
        records.take(decision, latency_us)

    service = CheckService(full, failures_are_errors=True)
    service.snapshot = snapshot
    check = CheckRequest.FromString(payload())
    check.attributes.request.http.headers["accept"] = "text/plain"
    response = answered(service, check.SerializeToString())
    assert response.status.code == OUTCOMES[Reason.AUDIT_UNAVAILABLE].grpc_code
    assert response.denied_response.status.code == 503
    headers = {each.header.key: each.header.value for each in response.denied_response.headers}
    assert headers["content-type"].startswith("text/plain")
    assert headers["retry-after"] == "1"
    [record] = records
    assert (record.reason, record.detail, record.rule) == (Reason.AUDIT_UNAVAILABLE, "full", None)
    assert (record.service, record.method, record.path) == ("orders", "GET", "/a")
    assert response.dynamic_metadata["decision_id"] == record.id
