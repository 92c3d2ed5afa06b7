"""What is decided of a record of one set of policies on another one: the same as of the whole request, or nothing."""

from pathlib import Path
from typing import Any

import pytest

from authz_server.audit.record import encode
from authz_server.audit.redaction import Redaction
from authz_server.model import Request
from authz_server.pipeline import check
from authz_server.replay.judge import Judge, Outcome
from authz_server.replay.recorded import Undecidable, read_record
from tests.builders import plan_of, request, snapshot_of

NOW = 1_772_442_000.25
UNDECIDABLE = None
SERVICE = "kind: service\nname: orders\nhosts: [orders.shop.example, 'orders.shop.example:8443']\n"
OPEN = SERVICE + "rules: [{id: r, effect: allow, from: anyone, to: [{paths: ['/**']}]}]\n"


def replayed(tmp_path: Path, asked: Request, before: str, after: str, missing: str = "") -> Outcome | None:
    """What comes of the record of a request: nothing, where it is undecidable, or what is decided of the request."""
    old, new = plan_of(tmp_path / "old", orders=before), plan_of(tmp_path / "new", orders=after)
    line = encode(check(asked, snapshot_of(old), NOW), worker=0, latency_us=1, redaction=Redaction((), b"k"))
    decided = check(asked, snapshot_of(new), NOW)
    outcome = Judge(new).outcome(read_record(line))
    if isinstance(outcome, Undecidable):
        assert outcome.missing == missing
        return UNDECIDABLE
    assert outcome == Outcome(decided.allowed, decided.reason, decided.rule, decided.would_deny)
    return outcome


def with_rule(rule: str, more: str = "") -> str:
    """A service with one rule that allows a part of everything."""
    return f"{SERVICE}{more}rules: [{{id: r, effect: allow, from: anyone, {rule}}}]\n"


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (request(path="/a", headers={"upgrade": "WebSocket", "connection": "upgrade"}), "to: [{upgrade: websocket}]"),
        (request(path="/a"), "to: [{upgrade: websocket}]"),
        (
            request("POST", "/o.v1.O/Get", headers={"content-type": "application/grpc"}),
            "to: [{grpc: {service: o.v1.O}}]",
        ),
        (
            request("POST", "/o.v1.O/Get?", headers={"content-type": "application/grpc"}),
            "to: [{grpc: {service: o.v1.O}}]",
        ),
        (request("POST", "/o.v1.O/Get"), "to: [{grpc: {service: o.v1.O}}]"),
        (request(path="/a", host="orders.shop.example:8443"), "to: [{hosts: ['orders.shop.example:8443']}]"),
        (request(path="/a"), "to: [{hosts: ['orders.shop.example:8443']}]"),
        (request("CONNECT", ""), "to: [{connect: true}]"),
        (request(path="/a", client_address="10.0.0.1"), "when: client.within('10.0.0.0/8')"),
        (request(path="/a", workload="spiffe://shop.example/a"), "when: 'workload.segments == [\"a\"]'"),
        (request(path="/a", id="q1"), "when: request.id == 'q1'"),
        (request(path="/%61"), "to: [{paths: ['/a']}]"),
        (request(path="/a?x=1"), "when: now == timestamp('2026-03-02T09:00:00.25Z')"),
        (request(path="/a"), "when: has_user || has_workload"),
    ],
)
def test_what_every_record_says_is_enough(tmp_path: Path, asked: Request, rule: str) -> None:
    """Whatever the policies of its time have read."""
    assert replayed(tmp_path, asked, OPEN, with_rule(rule)) is not UNDECIDABLE


@pytest.mark.parametrize(
    ("rule", "missing"),
    [
        ('when: \'request.headers["x-a"] == "1"\'', "request.headers[x-a]"),
        ("when: '!(\"x-a\" in request.headers)'", "request.headers[x-a]"),
        ("when: size(request.headers) > 0", "request.headers[*]"),
        ('when: \'request.query["q"] == ["1"]\'', "request.query[q]"),
        ("when: request.protocol == 'HTTP/2'", "request.protocol"),
        ("when: destination.port == 80", "destination.host"),
        ('when: \'metadata["a.b"].tier == "gold"\'', "metadata[a.b]"),
        ("to: [{ports: [80]}]", "destination.port"),
        ("answer: {set_headers: {x-a: 'request.headers[\"x-a\"]'}}", "request.headers[x-a]"),
        (
            'when: \'request.header_values["x-a"].all(v, v == "1") || request.method == "GET"\'',
            "request.headers[x-a]",
        ),
    ],
)
def test_what_is_not_on_record_is_missing(tmp_path: Path, rule: str, missing: str) -> None:
    """A macro fails where what it goes through is too long, so that what stands beside it does not decide."""
    asked = request(path="/a", headers={"x-a": "1"}, destination_port=80, workload="spiffe://shop.example/a")
    assert replayed(tmp_path, asked, OPEN, with_rule(rule), missing) is UNDECIDABLE


@pytest.mark.parametrize("headers", [{}, {"x-a": "1"}, {"x-a": "2"}, {"x-a": "x" * 300}, {"x-a": "a, 1"}])
def test_what_the_policies_of_its_time_have_read_is_known(tmp_path: Path, headers: dict[str, str]) -> None:
    """Its value, or that there was none; and a long one, which the record cuts, is not."""
    before = with_rule("""when: 'request.headers["x-a"] == "3"'""")
    after = with_rule("""when: '!("x-a" in request.headers) || request.headers["x-a"] == "1"'""")
    found = replayed(tmp_path, request(path="/a", headers=headers), before, after, "request.headers[x-a]")
    assert (found is UNDECIDABLE) is (len(headers.get("x-a", "")) > 256)
    listed = with_rule("""when: '"1" in request.header_values["x-a"]'""")
    found = replayed(tmp_path, request(path="/a", headers=headers), before, listed, "request.headers[x-a]")
    assert (found is UNDECIDABLE) is (len(headers.get("x-a", "")) > 256)


def test_a_workload_that_is_known_by_name_has_no_certificate(tmp_path: Path) -> None:
    """So that a condition on it fails for everybody."""
    asked = request(path="/a", workload="spiffe://shop.example/a")
    found = replayed(tmp_path, asked, OPEN, with_rule("when: certificate.serial == '0a'"))
    assert found == Outcome(False, "no_rule_allows")


@pytest.mark.parametrize(
    ("asked", "decided"),
    [(request(path="/a"), True), (request(path="/a", headers={"x_team": "1"}), False)],
)
def test_variants_of_headers_that_rules_set_may_have_come(tmp_path: Path, asked: Request, decided: bool) -> None:
    """Where a header with an underscore came, of which the record does not say which."""
    after = with_rule("answer: {set_headers: {x-team: \"'blue'\"}}")
    found = replayed(tmp_path, asked, OPEN, after, "request.headers[*]")
    assert (found is not UNDECIDABLE) is decided


def test_protected_names_with_underscores_leave_it_open(tmp_path: Path) -> None:
    """Any header may be a variant of those."""
    after = with_rule("answer: {set_headers: {x_team: \"'blue'\"}}")
    assert replayed(tmp_path, request(path="/a"), OPEN, after, "request.headers[*]") is UNDECIDABLE


@pytest.mark.parametrize("path", ["/a//b", "/a/%2e%2e/b", "/a;p/b", "/a/b"])
def test_paths_of_lenient_services(tmp_path: Path, path: str) -> None:
    """All readings are decided again; of one that was cut nothing can be said."""
    lenient = with_rule("to: [{paths: ['/**']}]", "paths: lenient\n")
    narrow = with_rule("to: [{paths: ['/a/**']}]", "paths: lenient\n")
    for after in (lenient, narrow, OPEN):
        found = replayed(tmp_path / after[-9:-1].strip(), request(path=path), lenient, after)
        assert (found is UNDECIDABLE) is (";" in path)


def test_readings_whose_answers_rest_on_a_header_are_not_known(tmp_path: Path) -> None:
    """Answers are compared there, and what they change depends on whether the header came."""
    rules = (
        "paths: lenient\nrules:\n"
        "  - {id: a, effect: allow, from: anyone, to: [{paths: ['/a/b']}],\n"
        "     answer: {set_headers: {x-a: {append: \"'1'\"}}}}\n"
        "  - {id: b, effect: allow, from: anyone, to: [{paths: ['/a/**']}],\n"
        "     answer: {set_headers: {x-a: {if_absent: \"'1'\"}}}}\n"
    )
    lenient = with_rule("to: [{paths: ['/**']}]", "paths: lenient\n")
    assert replayed(tmp_path, request(path="/a//b"), lenient, SERVICE + rules, "request.headers[x-a]") is UNDECIDABLE


def routed(name: str) -> dict[str, Any]:
    """What a route says that names a service."""
    return {"service": name}


def test_a_route_that_names_its_service_still_does(tmp_path: Path) -> None:
    """Also where host and path are another one's; and one that named none that is there may name one that is now."""
    asked = request(path="/a", host="other.example", extensions=routed("orders"))
    assert replayed(tmp_path, asked, OPEN, OPEN) == Outcome(True, "allowed", "orders/r")
    asked = request(path="/a", extensions=routed("customers"))
    renamed = OPEN.replace("name: orders", "name: customers")
    assert replayed(tmp_path / "renamed", asked, OPEN, renamed) is UNDECIDABLE


def test_records_that_say_the_same_are_decided_once_unless_time_counts(tmp_path: Path) -> None:
    """A hundred thousand records are often a few hundred that differ by time alone."""
    always = plan_of(tmp_path / "a", orders=OPEN)
    until = plan_of(tmp_path / "b", orders=with_rule("valid: {until: '2026-03-02T09:00:01Z'}"))
    answers = []
    for plan in (always, until):
        judge, seen = Judge(plan), []
        for moment in (NOW, NOW + 1, NOW):
            decision = check(request(path="/a"), snapshot_of(always), moment)
            line = encode(decision, worker=0, latency_us=1, redaction=Redaction((), b"k"))
            outcome = judge.outcome(read_record(line))
            assert isinstance(outcome, Outcome)
            seen.append(outcome)
        answers.append([outcome.allowed for outcome in seen])
        assert (seen[0] is seen[2]) is (plan is always)
    assert answers == [[True, True, True], [True, False, True]]


def test_scopes_that_no_rule_asks_for_need_not_be_on_record(tmp_path: Path) -> None:
    """The policies of its time read none, and these read none."""
    plan = plan_of(
        tmp_path, orders=f"{SERVICE}rules: [{{id: r, effect: allow, from: [{{users: {{issuer: corp}}}}]}}]\n"
    )
    line = b"""{"time": "2026-03-02T10:00:00.000000Z", "type": "decision", "decision": "allow",
        "reason": "no_rule_allows", "mode": "audit", "would_deny": true, "service": "orders",
        "user": {"issuer": "corp", "subject": "ann"}, "method": "GET", "host": "orders.shop.example", "path": "/a",
        "calls": 1, "traits": {}}"""
    assert Judge(plan).outcome(read_record(line)) == Outcome(True, "allowed", "orders/r")
