"""Attacks with bodies that cost much to go through."""

from pathlib import Path

import pytest

from authz_server.envoy import service
from authz_server.envoy.service import CheckService
from authz_server.errors import OUTCOMES, Reason
from authz_server.model import Decision
from authz_server.pb.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from authz_server.policy.conditions import evaluation
from authz_server.policy.conditions.values import excess
from tests.builders import answer_to, plan_of, snapshot_of

POLICY = """
    kind: service
    name: orders
    hosts: [orders.shop.example]
    body: json
    paths: lenient
    rules:
      - {id: all, effect: allow, from: anyone}
      - {id: no-x, effect: deny, when: 'request.path != "/q" && body.items.exists(item, item == "x")'}
"""
MANY_READINGS = "/orders/%2e%2e/orders;x//y%2fz"
ROW = b"[" + b",".join([b"{}"] * 20) + b"]"
LONG = b'{"items": ["x", ' + b", ".join([b"{}"] * 4000) + b"]}"
"""Longer than what a macro goes through."""
DEEP = b'{"items": ["x", ' + b", ".join([ROW] * 200) + b"]}"
"""As many values, no list of which is long."""


class Asked:
    """What came of requests with bodies."""

    def __init__(self, directory: Path) -> None:
        self.decisions: list[Decision] = []
        self._service = CheckService(lambda decision, _: self.decisions.append(decision))
        self._service.snapshot = snapshot_of(plan_of(directory, orders=POLICY))

    def post(self, body: bytes, path: str = MANY_READINGS) -> CheckResponse:
        """The answer to a request with this body."""
        message = CheckRequest()
        http = message.attributes.request.http
        http.method, http.path, http.host = "POST", path, "orders.shop.example"
        http.raw_body, http.size = body, len(body)
        http.headers["content-type"], http.headers["content-length"] = "application/json", str(len(body))
        return answer_to(self._service, message.SerializeToString())


@pytest.fixture(name="asked")
def _asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


@pytest.mark.parametrize(
    ("body", "reason"), [(LONG, Reason.DENY_RULE_ERROR), (DEEP, Reason.DENIED_BY_RULE)], ids=["long", "deep"]
)
def test_hdr_10_a_body_of_thousands_of_values_is_measured_once_for_all_readings(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, body: bytes, reason: Reason
) -> None:
    """Whatever each reading of the path makes of it."""
    measured = []

    def count(value: object, max_elements: int, max_text: int) -> str | None:
        measured.append(value)
        return excess(value, max_elements, max_text)

    monkeypatch.setattr(evaluation, "excess", count)
    assert asked.post(body).denied_response.status.code == OUTCOMES[reason].http_status
    assert [decision.reason for decision in asked.decisions] == [reason]
    assert len([value for value in measured if isinstance(value, dict) and "items" in value]) == 1


@pytest.mark.parametrize("body", [LONG, DEEP], ids=["long", "deep"])
def test_hdr_10_what_takes_too_long_is_an_explicit_denial(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """No further condition is begun, and neither an error to the proxy nor an allow comes of it."""
    monkeypatch.setattr(service, "LONGEST_DECISION_S", -1.0)
    assert asked.post(body).HasField("denied_response")
    assert asked.decisions[-1].reason in (Reason.DEADLINE, Reason.DENY_RULE_ERROR)
    assert asked.post(b'{"items": []}', "/orders").HasField("denied_response")
    assert asked.decisions[-1].reason is Reason.DEADLINE
